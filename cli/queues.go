package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// pauseRow is a pause, as output shows it.
type pauseRow struct {
	Reason string     `json:"reason"`
	Actor  string     `json:"actor"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitempty"`
}

func pauseRowOf(p store.Pause) *pauseRow {
	r := &pauseRow{Reason: p.Reason, Actor: p.Actor, Since: p.Since.UTC()}
	if !p.Until.IsZero() {
		until := p.Until.UTC()
		r.Until = &until
	}
	return r
}

// String says who paused the queue, since when, why and until when.
func (p *pauseRow) String() string {
	text := fmt.Sprintf("by %s since %s because %s", cmp.Or(p.Actor, "somebody"), moment(p.Since),
		cmp.Or(p.Reason, "of no reason that was given"))
	if p.Until != nil {
		return text + " until " + moment(*p.Until)
	}
	return text + " until it is resumed"
}

func (s *session) queuesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "queues", Short: "List, show, pause and resume queues",
		Example: s.example(`
			queues list
			queues pause async --reason 'the bank is down' --for 1h
			queues resume async`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.queuesListCommand(), s.queuesShowCommand(), s.queuesPauseCommand(), s.queuesResumeCommand())
	return cmd
}

func (s *session) queuesListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the queues, with what waits in them and whether they are paused",
		Example: s.example(`
			queues list
			queues list -o name`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.stats(cmd.Context(), nil, output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) queuesShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show QUEUE...", Short: "Show queues, and who consumes them",
		Example: s.example(`
			queues show async
			queues show async -o json`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showQueues(cmd.Context(), args, output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showQueues(ctx context.Context, names []string, as string) error {
	all, err := s.queueRows(ctx, nil)
	if err != nil {
		return err
	}
	workers, now, err := s.env.Store.Workers(ctx)
	if err != nil {
		return err
	}
	rows, err := namedQueues(all, workers, names)
	if err != nil {
		return err
	}
	if as != formTable && as != formWide {
		return show(s, as, queueListing(rows))
	}
	for i, r := range rows {
		if i > 0 {
			s.print("\n")
		}
		s.describeQueue(r, slices.DeleteFunc(slices.Clone(workers), func(w driver.WorkerRecord) bool {
			return !alive(w, now) || !slices.Contains(w.Queues, r.Queue)
		}))
	}
	return nil
}

// namedQueues are the rows of some queues. Of those that nothing declares, fills or pauses
// here, a worker has to have said that it consumes them: see failure.HeardOf.
func namedQueues(all []queueRow, workers []driver.WorkerRecord, names []string) ([]queueRow, error) {
	var known []string
	for _, r := range all {
		known = append(known, r.Queue)
	}
	for _, w := range workers {
		known = append(known, w.Queues...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, unheard(name, known)
		}
		if !slices.ContainsFunc(all, func(r queueRow) bool { return r.Queue == name }) {
			all = append(all, queueRow{Queue: name})
		}
	}
	return slices.DeleteFunc(all, func(r queueRow) bool { return !slices.Contains(names, r.Queue) }), nil
}

// describeQueue writes a queue for a reader.
func (s *session) describeQueue(r queueRow, workers []driver.WorkerRecord) {
	line := func(name, value string) { s.print("%-11s %s\n", name, value) }
	line("queue", r.Queue)
	line("transport", cmp.Or(r.Transport, "-"))
	if r.Paused != nil {
		line("paused", r.Paused.String())
	}
	line("ready", fmt.Sprintf("%d, the oldest due for %s", r.Ready, age(r.oldest)))
	line("delayed", fmt.Sprintf("%d, the next due in %s", r.Delayed, age(r.next)))
	line("in flight", fmt.Sprint(r.InFlight))
	line("suspects", fmt.Sprint(r.Suspects))
	line("dead", fmt.Sprint(r.Dead))
	line("workers", cmp.Or(namesOf(workers), "none is running"))
}

// pauseFlags are the flags of queues pause.
type pauseFlags struct{ reason, actor, during, until string }

func (s *session) queuesPauseCommand() *cobra.Command {
	var f pauseFlags
	cmd := &cobra.Command{
		Use: "pause QUEUE...", Short: "Let no worker claim from queues",
		Long: `Let no worker, on any host, claim from the queues. What is in flight is finished, and messages are accepted as
ever. Workers obey within a second. A pause with an end ends by itself, by the store's clock; a pause that there was is
replaced.`,
		Example: s.example(`
			queues pause async --reason 'the bank is down'
			queues pause async --reason 'the bank is down' --for 1h
			queues pause async --reason maintenance --until '2030-01-31 08:00'`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.pauseQueues(cmd.Context(), args, f) },
	}
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for all who wonder")
	cmd.Flags().StringVar(&f.actor, "by", "", "who pauses it (default this user and host)")
	group(cmd, "Why", "reason", "by")
	cmd.Flags().StringVar(&f.during, "for", "", "how long, like 1h")
	cmd.Flags().StringVar(&f.until, "until", "", "when it ends, as a `time`")
	group(cmd, "How long", "for", "until")
	return cmd
}

// pause is what the flags ask for.
func (f pauseFlags) pause() (p store.Pause, err error) {
	switch {
	case strings.TrimSpace(f.reason) == "":
		return p, usage("--reason is missing", "say why: whoever finds the queue paused wants to know")
	case f.during != "" && f.until != "":
		return p, usage("--for and --until contradict each other", "give one of them")
	}
	p.Reason, p.Actor = f.reason, f.actor
	if f.during != "" {
		if p.For, err = config.ParseDuration(f.during); err != nil || p.For == 0 {
			return p, usage(fmt.Sprintf("--for %s is no length of time", f.during), "write it like 90s, 1h30m or 2d")
		}
	}
	p.Until, err = parseTime("until", f.until)
	return p, err
}

func (s *session) pauseQueues(ctx context.Context, names []string, f pauseFlags) error {
	f.actor = cmp.Or(f.actor, s.actor())
	p, err := f.pause()
	if err != nil {
		return err
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if err := s.knownQueues(ctx, st, names...); err != nil {
		return err
	}
	for _, name := range names {
		p.Queue = name
		paused, err := st.Pause(ctx, p)
		if err != nil {
			return pauseFault(err)
		}
		s.say("%s is paused %s\n", name, pauseRowOf(paused))
	}
	return nil
}

// pauseFault words what is wrong with a pause itself.
func pauseFault(err error) error {
	if errors.Is(err, driver.ErrInvalid) || errors.Is(err, driver.ErrTooLarge) {
		return usage(err.Error(), "give another --until, or a shorter --reason")
	}
	return err
}

// actor names who runs the command. Cron and containers often set no USER: the system
// knows the user all the same.
func (s *session) actor() string {
	name, _ := s.lookup("USER")
	if name == "" {
		name, _ = s.lookup("LOGNAME")
	}
	if name == "" {
		name = fmt.Sprintf("uid%d", os.Getuid())
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	host, _ := os.Hostname() // for people; an unknown host is left out
	return strings.Trim(name+"@"+host, "@")
}

func (s *session) queuesResumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume QUEUE...", Short: "Let workers claim from queues again",
		Example: s.example(`
			queues resume async`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.resumeQueues(cmd.Context(), args) },
	}
}

func (s *session) resumeQueues(ctx context.Context, names []string) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	var not []string
	for _, name := range names {
		was, err := st.Resume(ctx, name)
		switch {
		case err != nil:
			return err
		case was:
			s.say("%s is resumed\n", name)
		default:
			not = append(not, name)
		}
	}
	switch len(not) {
	case 0:
		return nil
	case len(names):
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "nothing to resume", What: "not paused: " + strings.Join(not, ", "),
			Exit: exitNothing, Try: s.app.Name + " queues list",
		}
	}
	s.say("not paused: %s\n", strings.Join(not, ", "))
	return outcome(exitPartly)
}
