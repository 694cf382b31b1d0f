package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// A level is how bad something is. The order counts.
type level int

// The levels, as Nagios numbers them.
const (
	levelOK level = iota
	levelWarning
	levelCritical
	levelUnknown
)

// String is the level in small letters.
func (l level) String() string { return [...]string{"ok", "warning", "critical", "unknown"}[l] }

// MarshalText is the level in small letters.
func (l level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// The names of the checks, for --only.
const (
	checkStore   = "store"
	checkWorkers = "workers"
	checkFailed  = "failed"
	checkOldest  = "oldest"
)

func checkNames() []string { return []string{checkStore, checkWorkers, checkFailed, checkOldest} }

// finding is the result of one check.
type finding struct {
	Check string `json:"check"`
	Level level  `json:"level"`
	Text  string `json:"text"`
	Try   string `json:"try,omitempty"`

	perf string // for Nagios
}

// healthFlags are the flags of health.
type healthFlags struct {
	only           []string
	failOn, output string
	maxFailed      int
	maxAge         time.Duration
	nagios         bool
}

func (s *session) healthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use: "health", Short: "Check the store, the workers and the dead letters; for probes",
		Long: `Check that the store is reachable, that each queue has a living worker, that dead letters are not too many, and
that no message waits for too long. Exit code 0: healthy; 1: not; 69: the store is unreachable. With --nagios: 0 ok,
1 warning, 2 critical, 3 unknown.`,
		Example: s.example(`
			health
			health --only store,workers
			health --nagios --max-failed 20`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.health(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.only, "only", nil, "only these `checks`: "+strings.Join(checkNames(), ", "))
	fs.IntVar(&f.maxFailed, "max-failed", -1, "more dead letters than this are critical (default health.max_failed, 100)")
	fs.Lookup("max-failed").DefValue = "0" // -1 means the configured one; the help must not show it
	fs.DurationVar(&f.maxAge, "max-age", 15*time.Minute, "a message that has been due for longer is a warning")
	fs.StringVar(&f.failOn, "fail-on", "critical", "the `level` from which the exit code is 1: warning or critical")
	group(cmd, "What is unhealthy", "only", "max-failed", "max-age", "fail-on")
	fs.BoolVar(&f.nagios, "nagios", false, "one line and exit codes for Nagios")
	outputFlag(cmd, &f.output)
	group(cmd, "Output", "nagios")
	return cmd
}

func (f healthFlags) check() error {
	for _, name := range f.only {
		if !slices.Contains(checkNames(), name) {
			return usage("--only: there is no check "+name,
				meant(name, checkNames(), "the checks are "+strings.Join(checkNames(), ", ")))
		}
	}
	if f.failOn != "warning" && f.failOn != "critical" {
		return usage("--fail-on "+f.failOn+" is no level", "give warning or critical")
	}
	return nil
}

func (s *session) health(ctx context.Context, f healthFlags) error {
	found, err := s.examine(ctx, f)
	if err != nil {
		if f.nagios {
			s.print("POSTHORN UNKNOWN - %s\n", err)
			return outcome(levelUnknown)
		}
		return err
	}
	worst := levelOK
	for _, d := range found {
		worst = max(worst, d.Level)
	}
	if f.nagios {
		return s.tellNagios(found, worst)
	}
	if err := s.showHealth(f.output, found, worst); err != nil {
		return err
	}
	least := levelCritical
	if f.failOn == "warning" {
		least = levelWarning
	}
	switch {
	case found[0].Check == checkStore && found[0].Level == levelCritical:
		return outcome(exitUnreachable)
	case worst >= least:
		return outcome(exitFailed)
	}
	return nil
}

func (s *session) showHealth(as string, found []finding, worst level) error {
	err := show(s, as, listing[finding]{
		kind: "Health", rows: found, extra: map[string]any{"level": worst}, name: func(d finding) string { return d.Check },
		columns: []column[finding]{
			{head: "CHECK", cell: func(d finding) string { return d.Check }},
			{head: "LEVEL", cell: func(d finding) string { return d.Level.String() }},
			{head: "FINDING", cell: func(d finding) string { return d.Text }},
		},
	})
	if as != formTable && as != formWide {
		return err
	}
	for _, d := range found {
		if d.Try != "" {
			s.say("%s: try %s\n", d.Check, d.Try)
		}
	}
	return err
}

func (s *session) tellNagios(found []finding, worst level) error {
	var texts, perf []string
	for _, d := range found {
		if d.Level == worst {
			texts = append(texts, strings.ReplaceAll(d.Text, "|", "/"))
		}
		if d.perf != "" {
			perf = append(perf, d.perf)
		}
	}
	line := fmt.Sprintf("POSTHORN %s - %s", strings.ToUpper(worst.String()), strings.Join(texts, "; "))
	if len(perf) > 0 {
		line += " | " + strings.Join(perf, " ")
	}
	s.print("%s\n", line)
	if worst == levelOK {
		return nil
	}
	return outcome(worst)
}

// examine runs the checks. An error means that nothing can be said.
func (s *session) examine(ctx context.Context, f healthFlags) ([]finding, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	if f.maxFailed < 0 {
		f.maxFailed = cfg.MaxFailed
	}
	st, err := s.existing(ctx)
	if err == nil {
		err = st.Ping(ctx)
	}
	if err != nil {
		why := s.explainAny(err)
		return []finding{{Check: checkStore, Level: levelCritical, Text: why.Title + ": " + why.What, Try: why.Try}}, nil
	}
	found, err := s.measureStore(ctx, cfg, f)
	if err != nil {
		return nil, err
	}
	if len(f.only) > 0 {
		found = slices.DeleteFunc(found, func(d finding) bool { return !slices.Contains(f.only, d.Check) })
	}
	return found, nil
}

func (s *session) measureStore(ctx context.Context, cfg *config.Config, f healthFlags) ([]finding, error) {
	st := s.env.Store
	stats, err := st.Stats(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := runningWorkers(ctx, st)
	if err != nil {
		return nil, err
	}
	rows := mergeQueues(cfg, stats)
	return []finding{
		{Check: checkStore, Text: fmt.Sprintf("%s, %s", st.Dialect(), st.Capabilities().Durability)},
		judgeWorkers(s.app.Name, rows, workers), judgeFailed(s.app.Name, stats, f.maxFailed), judgeOldest(rows, f.maxAge),
	}, nil
}

// judgeWorkers looks for queues without a living worker.
func judgeWorkers(name string, rows []queueRow, workers []driver.WorkerRecord) finding {
	d := finding{Check: checkWorkers, perf: fmt.Sprintf("workers=%d", len(workers))}
	var idle, stuck []string
	for _, r := range rows {
		switch {
		case r.Transport == "" && r.Ready+r.Delayed+r.InFlight == 0,
			slices.ContainsFunc(workers, func(w driver.WorkerRecord) bool { return slices.Contains(w.Queues, r.Queue) }):
		case r.Ready > 0:
			stuck = append(stuck, fmt.Sprintf("%s (%s waiting)", r.Queue, plural(int(r.Ready), "message")))
		default:
			idle = append(idle, r.Queue)
		}
	}
	switch {
	case len(stuck) > 0:
		d.Level, d.Text = levelCritical, "no living worker for "+strings.Join(append(stuck, idle...), ", ")
	case len(idle) > 0:
		d.Level, d.Text = levelWarning, "no living worker for "+strings.Join(idle, ", ")
	default:
		d.Text = fmt.Sprintf("%d alive", len(workers))
	}
	if d.Level != levelOK {
		d.Try = name + " up"
	}
	return d
}

func judgeFailed(name string, stats []store.QueueStats, most int) finding {
	var dead int64
	for _, q := range stats {
		dead += q.Dead
	}
	d := finding{Check: checkFailed, perf: fmt.Sprintf("failed=%d;;%d", dead, most)}
	d.Text = fmt.Sprintf("%d dead letters, at most %d are allowed", dead, most)
	if dead > int64(most) {
		d.Level, d.Try = levelCritical, name+" failed list"
	}
	return d
}

func judgeOldest(rows []queueRow, most time.Duration) finding {
	var oldest queueRow
	for _, r := range rows {
		if r.oldest > oldest.oldest {
			oldest = r
		}
	}
	d := finding{Check: checkOldest, perf: fmt.Sprintf("oldest=%.0fs;%.0f", oldest.oldest.Seconds(), most.Seconds())}
	if oldest.oldest == 0 {
		d.Text = "no message is waiting"
		return d
	}
	d.Text = fmt.Sprintf("the oldest message has been due for %s, on %s", age(oldest.oldest), oldest.Queue)
	if oldest.oldest > most {
		d.Level, d.Try = levelWarning, "more workers, or a higher concurrency"
	}
	return d
}
