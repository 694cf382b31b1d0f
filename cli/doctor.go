package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// diagnosis is a finding of doctor, as output shows it.
type diagnosis struct {
	Check    string      `json:"check"`
	Level    store.Level `json:"level"`
	Evidence string      `json:"evidence"`
	Fix      string      `json:"fix,omitempty"`
}

// doctorLevels are the levels, from the best to the worst.
func doctorLevels() []store.Level {
	return []store.Level{store.LevelOK, store.LevelUnknown, store.LevelWarning, store.LevelError}
}

// The checks that doctor makes itself; the others are the store's.
const (
	checkOpen        = "STORE-OPEN"
	checkLease       = "CONFIG-LEASE"
	checkConcurrency = "CONFIG-CONCURRENCY"
	checkSecrets     = "CONFIG-SECRETS" //nolint:gosec // the name of a check
)

func (s *session) doctorCommand() *cobra.Command {
	var failOn, output string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Examine the live store and the configuration, and say what to repair",
		Long: `Examine the live store and the configuration: what is wrong, how that shows, and what to do. It changes
nothing; pending migrations are reported, not run. What cannot be looked at is unknown, never ok. Exit code 0: nothing
at or above the level of --fail-on (ok, unknown, warning, error); 1: something; 69: the store cannot be opened.`,
		Example: s.example(`
			doctor
			doctor --fail-on warning
			doctor -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(doctorLevels()[1:], store.Level(failOn)) {
				return usage("--fail-on "+failOn+" is no level", "give unknown, warning or error")
			}
			return s.doctor(cmd.Context(), output, store.Level(failOn))
		},
	}
	cmd.Flags().StringVar(&failOn, "fail-on", "error",
		"the `level` from which the exit code is 1: unknown, warning or error")
	group(cmd, "What is unhealthy", "fail-on")
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) doctor(ctx context.Context, as string, failOn store.Level) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	found, opened, err := s.diagnose(ctx, cfg)
	if err != nil {
		return err
	}
	worst := slices.MaxFunc(found, func(a, b diagnosis) int { return cmp.Compare(rank(a.Level), rank(b.Level)) }).Level
	if err := s.showDoctor(as, found, worst); err != nil {
		return err
	}
	switch {
	case !opened:
		return outcome(exitUnreachable)
	case rank(worst) >= rank(failOn):
		return outcome(exitFailed)
	}
	return nil
}

func rank(l store.Level) int { return slices.Index(doctorLevels(), l) }

// diagnose runs all checks. opened reports whether the store could be opened.
func (s *session) diagnose(ctx context.Context, cfg *config.Config) (found []diagnosis, opened bool, err error) {
	s.asIs = true
	st, err := s.existing(ctx)
	if err == nil {
		err = st.Ping(ctx)
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if err != nil {
		why := s.explainAny(err)
		found = []diagnosis{{checkOpen, store.LevelError, why.Title + ": " + why.What, why.Try}}
		return append(append(found, judgePrograms(cfg)...), judgeSecretFiles(cfg)...), false, nil
	}
	found = []diagnosis{{Check: checkOpen, Level: store.LevelOK, Evidence: st.Dialect() + ", " + cfg.Store.String()}}
	seen, err := st.Examine(ctx)
	if err != nil {
		return nil, true, err
	}
	for _, f := range seen {
		found = append(found, diagnosis{f.ID, f.Level, f.Evidence, f.Fix})
	}
	found = append(append(found, judgePrograms(cfg)...), judgeSecretFiles(cfg)...)
	if st.Capabilities().Lanes > 1 { // SQLite writes one by one anyway
		found = append(found, judgeConcurrency(cfg, st.Capabilities().Lanes))
	}
	return found, true, nil
}

// judgePrograms looks for leases that end before a stopping worker gives up its
// handlers. A worker that has lost the store cannot renew them meanwhile.
func judgePrograms(cfg *config.Config) []diagnosis {
	var found []diagnosis
	for _, p := range cfg.Programs {
		d := diagnosis{Check: checkLease, Level: store.LevelOK, Evidence: fmt.Sprintf("%s: drain_timeout %s, lease %s",
			p.Name, config.FormatDuration(p.DrainTimeout), config.FormatDuration(p.Lease))}
		switch {
		case p.DrainTimeout >= p.Lease:
			d.Level = store.LevelWarning
			d.Fix = fmt.Sprintf("set programs.%s.lease above drain_timeout: a worker that stops while the store is away "+
				"runs handlers whose messages others already have", p.Name)
		case p.Lease > longLease:
			d.Level = store.LevelWarning
			d.Fix = fmt.Sprintf("lower programs.%s.lease: living workers renew it, and after a crash messages wait that long",
				p.Name)
		}
		found = append(found, d)
	}
	return found
}

// longLease is a lease after which somebody will have asked where a message is.
const longLease = 15 * time.Minute

// lanesEach is how many handlers may share a connection for their transactions.
// A group of effects keeps one for 25 ms or so, so that the last of eight waits
// for a fifth of a second.
const lanesEach = 8

// judgeConcurrency compares the handlers of one process with the connections on
// which their transactions run.
func judgeConcurrency(cfg *config.Config, lanes int) diagnosis {
	handlers := 0
	for _, p := range cfg.Programs {
		handlers += p.Processes * p.Concurrency
	}
	d := diagnosis{Check: checkConcurrency, Level: store.LevelOK,
		Evidence: fmt.Sprintf("%d handlers at once, on %d connections for transactions", handlers, lanes)}
	if handlers > lanes*lanesEach {
		d.Level = store.LevelWarning
		d.Fix = fmt.Sprintf("raise pool.effects to %d, or lower the concurrency: handlers wait for each other",
			(handlers+lanesEach-1)/lanesEach)
	}
	return d
}

func (s *session) showDoctor(as string, found []diagnosis, worst store.Level) error {
	err := show(s, as, listing[diagnosis]{
		kind: "Doctor", rows: found, extra: map[string]any{"level": worst}, name: func(d diagnosis) string { return d.Check },
		columns: []column[diagnosis]{
			{head: "CHECK", cell: func(d diagnosis) string { return d.Check }},
			{head: "LEVEL", cell: func(d diagnosis) string { return string(d.Level) }},
			{head: "EVIDENCE", flex: true, cell: func(d diagnosis) string { return d.Evidence }},
			{head: "FIX", wide: true, cell: func(d diagnosis) string { return d.Fix }},
		},
	})
	if as != formTable {
		return err
	}
	for _, d := range found {
		if d.Fix != "" {
			s.say("%s: %s\n", d.Check, d.Fix)
		}
	}
	return err
}
