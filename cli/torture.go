package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/torture"
	"github.com/posthorn/posthorn/transport/open"
)

// tortureFlags are the flags of torture.
type tortureFlags struct {
	minutes  float64
	messages int
	seed     uint64
	private  string
	faults   []string
	resume   time.Duration
	output   string
}

// tortureProcess is the hidden subcommand that is one process of a run.
const tortureProcess = "process"

func (s *session) tortureCommand() *cobra.Command {
	var f tortureFlags
	cmd := &cobra.Command{
		Use: "torture", Short: "Prove on a store of your own that nothing is lost and no effect is doubled",
		Long: `Prove it on the store that you mean to use: run producers and workers as processes, harm them, the store
and the way to it on purpose, and ask a ledger outside the store what became of every message. It works in scratch
tables of its own beside the store's, which it removes, and touches no others: a file beside SQLite's, a schema on
PostgreSQL, a database on MySQL and MariaDB. Faults that would hurt others on a server need --private, which starts a
server of its own from the programs that are installed. It needs no handler and works from any program.
Exit code 1: a promise was broken; the report says which, and where the ledgers and logs are. Exit code 4: none was,
but a fault that --faults asks for was not injected.`,
		Example: s.example(`
			torture --minutes 10
			torture --minutes 2 --private postgres
			torture --minutes 5 --faults P-1,N-1 --seed 7 -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("faults") && len(f.faults) == 0 {
				return usage("--faults names none", "leave it out for all, or give some of "+faultNames())
			}
			return s.torture(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&f.minutes, "minutes", torture.DefaultTime.Minutes(), "how many `minutes` the load and the faults last")
	fl.Var(whole[int]{&f.messages, 0}, "messages", "end the load after so many messages; `0` is as many as the time holds")
	fl.Uint64Var(&f.seed, "seed", 0, "of all that happens by chance; `0` picks one")
	fl.StringVar(&f.private, "private", "", "start a `server` of its own: postgres or mariadb")
	fl.StringSliceVar(&f.faults, "faults", nil, "only these faults, of "+faultNames())
	fl.DurationVar(&f.resume, "resume-within", torture.DefaultResume, "how soon work must go on after a fault")
	group(cmd, "The run", "minutes", "messages", "seed", "private", "faults", "resume-within")
	outputFlag(cmd, &f.output)
	cmd.AddCommand(s.tortureProcessCommand())
	return cmd
}

// tortureProcessCommand is for torture itself: its job comes by stdin.
func (s *session) tortureProcessCommand() *cobra.Command {
	return &cobra.Command{
		Use: tortureProcess, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			p := torture.Process{Open: open.Store, In: s.io.Stdin, Out: s.io.Stdout, Log: s.io.Stderr,
				Command: tortureSelf(self), Environ: s.io.Environ}
			if err := p.Run(cmd.Context()); err != nil {
				return fmt.Errorf("process of a torture run: %w", err)
			}
			return nil
		},
	}
}

// tortureSelf is the command of a process of a run.
func tortureSelf(self string) []string { return []string{self, "torture", tortureProcess} }

func faultNames() string {
	var names []string
	for _, f := range torture.Faults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// options turns the flags into those of a run.
func (f tortureFlags) options() (o torture.Options, err error) {
	o = torture.Options{
		Open: open.Store, Private: f.private, Time: time.Duration(f.minutes * float64(time.Minute)),
		Messages: f.messages, Seed: cmp.Or(f.seed, rand.Uint64()>>11), Resume: f.resume,
	}
	switch {
	case f.minutes <= 0 || f.minutes > 7*24*60:
		return o, usage(fmt.Sprintf("--minutes must be more than 0 and at most %d, and is %v", 7*24*60, f.minutes),
			"give some: --minutes 10")
	case f.resume <= 0:
		return o, usage(fmt.Sprintf("--resume-within %s is not positive", f.resume), "leave it out, or give a duration")
	case f.private != "" && f.private != torture.PrivatePostgreSQL && f.private != torture.PrivateMariaDB:
		return o, usage("--private "+f.private+" is no server", "give postgres or mariadb")
	}
	for _, name := range f.faults {
		fault := torture.Fault(name)
		if !slices.Contains(torture.Faults(), fault) {
			var known []string
			for _, k := range torture.Faults() {
				known = append(known, string(k))
			}
			return o, usage("--faults "+name+" is no fault", meant(name, known, "give some of "+faultNames()))
		}
		o.Faults = append(o.Faults, fault)
	}
	return o, nil
}

func (s *session) torture(ctx context.Context, f tortureFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	cfg, err := s.config()
	if err != nil {
		return err
	}
	if o.Private != "" && s.flags.store != "" {
		return usage("--private and --store exclude each other", "leave one of them out")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	o.Store, o.Command, o.Progress = cfg.Store.Reveal(), tortureSelf(self), plainLines{s}
	s.say("seed %d\n", o.Seed)
	r, err := torture.Run(ctx, o)
	if err != nil {
		return s.tortureFault(r, err)
	}
	if err := s.showTorture(f.output, r); err != nil {
		return err
	}
	if !r.Held() {
		return outcome(exitFailed)
	}
	return s.asked(o.Faults, r)
}

// asked says which of the faults that were asked for a run did not inject: it proves nothing
// of them.
func (s *session) asked(wanted []torture.Fault, r *torture.Report) error {
	missing := slices.DeleteFunc(slices.Clone(r.Skipped), func(k torture.Skipped) bool {
		return !slices.Contains(wanted, k.Fault)
	})
	for _, k := range missing {
		s.say("asked for, and not injected: %s: %s\n", k.Fault, k.Reason)
	}
	if len(missing) > 0 {
		return outcome(exitPartly)
	}
	return nil
}

// tortureFault explains why there is no judgement.
func (s *session) tortureFault(r *torture.Report, err error) error {
	where := ""
	if r != nil && r.Dir != "" {
		where = r.Dir
	}
	switch {
	case errors.Is(err, torture.ErrNoServer):
		return &fault{Code: "E-TORTURE-SERVER", Title: "there is no such server to start", What: err.Error(),
			Try: "install it, or torture the configured store: leave --private out", Exit: exitFailed, err: err}
	case errors.Is(err, torture.ErrStore):
		return &fault{Code: "E-TORTURE-STORE", Title: "cannot torture this store", What: err.Error(), Where: where,
			Try: "let its user make a scratch schema or database, or give --private", Exit: exitFailed, err: err}
	}
	return err
}

// plainLines passes what a run says on to people.
type plainLines struct{ s *session }

// Write writes one line.
func (p plainLines) Write(line []byte) (int, error) {
	p.s.say("%s\n", strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

// showTorture shows the report: the promises as a list, all else as its summary.
func (s *session) showTorture(as string, r *torture.Report) error {
	if as == formTable || as == formWide {
		s.showTortureFigures(r)
	}
	err := show(s, as, listing[torture.Promise]{
		kind: "TortureReport", rows: r.Promises, name: func(p torture.Promise) string { return p.ID },
		extra: map[string]any{"held": r.Held(), "report": r},
		columns: []column[torture.Promise]{
			{head: "PROMISE", cell: func(p torture.Promise) string { return p.ID }},
			{head: "VERDICT", cell: func(p torture.Promise) string { return string(p.Verdict) }},
			{head: "TEXT", flex: true, cell: func(p torture.Promise) string { return p.Text }},
			{head: "EVIDENCE", flex: true, cell: func(p torture.Promise) string { return p.Reason }},
		},
	})
	for i, f := range r.Findings {
		if i == 20 {
			s.say("… and %d more\n", len(r.Findings)-i)
			break
		}
		s.say("broken: %s\n", f.String())
	}
	if r.Dir != "" {
		s.say("the ledgers and logs are in %s; --seed %d repeats the faults\n", r.Dir, r.Seed)
	}
	return err
}

// showTortureFigures writes the load and the faults for people.
func (s *session) showTortureFigures(r *torture.Report) {
	m, c, took := r.Messages, r.Crew, config.FormatDuration(time.Duration(r.Seconds)*time.Second)
	s.print("%s (%s), %s: %d messages to send: %d accepted, %d refused, of %d nobody knows\n", r.Store,
		string(r.Durability), took, m.Intents, m.Accepted, m.Refused, m.Unknown)
	s.print("%d done (%.0f a second), %d dead letters, %d discarded, %d live as they must\n", m.Effects, r.PerSecond,
		m.Dead, m.Discarded, m.Live)
	o := r.Operations
	s.print("%d operations on %d letters: %d retried: %d done, %d failed again; %d edited, %d discarded, %d restored, "+
		"%d gone, %d refused, %d left\n", o.Made, o.Letters, o.Retried, o.Done, o.Again, o.Edited, o.Discarded, o.Restored,
		o.Gone, o.Refused, o.Left)
	s.print("they stopped themselves %d times, and %d were cancelled; %d executors killed, %d stood still for too long, "+
		"%d times taken over\n", o.Stopped, o.Cancelled, o.Killed, c.ExecutorZombies, max(o.Turns-o.Made, 0))
	s.print("%d processes: %d killed, %d ended by messages, %d by limits; %d zombies, %d lost claims refused\n",
		c.Started, c.Killed, c.Poisoned, c.Ended, c.Zombies, c.Refused)
	for _, p := range slices.Sorted(maps.Keys(r.Points)) {
		s.print("died at %s: %d\n", p, r.Points[p])
	}
	s.print("\n")
	writeTable(s, false, listing[torture.Recovery]{rows: r.Faults, columns: []column[torture.Recovery]{
		{head: "FAULT", cell: func(f torture.Recovery) string { return string(f.Fault) }},
		{head: "TIMES", right: true, cell: func(f torture.Recovery) string { return fmt.Sprint(f.Injected) }},
		{head: "P50", yields: 1, right: true, cell: func(f torture.Recovery) string { return recovery(f, f.P50) }},
		{head: "P99", right: true, cell: func(f torture.Recovery) string { return recovery(f, f.P99) }},
		{head: "ABOUT", flex: true, cell: func(f torture.Recovery) string { return f.About }},
	}})
	for _, k := range r.Skipped {
		s.print("not injected: %s: %s\n", string(k.Fault), k.Reason)
	}
	s.print("\n")
}

// recovery words how soon work went on; faults that come with the load have no end.
func recovery(f torture.Recovery, d time.Duration) string {
	if f.Worst == 0 {
		return "-"
	}
	return d.Round(time.Millisecond).String()
}
