package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// finding is the result of one check, as output shows it.
type finding struct {
	Check string        `json:"check"`
	Level monitor.Level `json:"level"`
	Text  string        `json:"text"`
	Try   string        `json:"try,omitempty"`

	perf string // for Nagios
}

// checkNames are the names of the rules, for --only.
func checkNames() []string {
	var names []string
	for _, r := range monitor.Pack() {
		names = append(names, r.Name)
	}
	return names
}

// healthFlags are the flags of health.
type healthFlags struct {
	only           []string
	failOn, output string
	maxFailed      int
	maxAge         time.Duration
	nagios, docker bool
}

func (s *session) healthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use: "health", Short: "Check the store, the workers and the messages; for probes",
		Long: `Judge once what the monitor judges all the time: the store, the workers, what waits and for how long, dead
letters, progress, disks, clocks. What is seen counts at once; what a running monitor knows is used, too. It ends within
seconds, also when the store hangs. What cannot be read is unknown, and never healthy.

Exit code 0: healthy; 1: not, or unknown; 69: the store is unreachable. With --docker: 0 or 1, as a HEALTHCHECK wants
it. With --nagios: 0 ok, 1 warning, 2 critical, 3 unknown.`,
		Example: s.example(`
			health
			health --only store,workers,progress
			health --nagios --max-failed 20`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := s.health(cmd.Context(), f)
			if f.docker && s.report(err) != exitDone {
				return outcome(exitFailed)
			}
			if f.docker {
				return nil
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&f.only, "only", nil, "only these `checks`: "+strings.Join(checkNames(), ", "))
	f.maxFailed = -1 // the configured one
	fs.Var(whole[int]{&f.maxFailed, 0}, "max-failed",
		"more dead letters than this are critical (default health.max_failed, 100)")
	fs.Lookup("max-failed").DefValue = "0" // the help shows no -1
	fs.DurationVar(&f.maxAge, "max-age", 0,
		"a message that has been due for longer is a warning (default monitor.rules.oldest.warning, 15m)")
	fs.StringVar(&f.failOn, "fail-on", "critical", "the `level` from which the exit code is 1: warning or critical")
	group(cmd, "What is unhealthy", "only", "max-failed", "max-age", "fail-on")
	fs.BoolVar(&f.nagios, "nagios", false, "one line and exit codes for Nagios")
	fs.BoolVar(&f.docker, "docker", false, "no other exit codes than 0 and 1")
	outputFlag(cmd, &f.output)
	group(cmd, "Output", "nagios", "docker")
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
	if f.nagios && f.docker {
		return usage("--nagios and --docker contradict each other", "give one of them")
	}
	return nil
}

func (s *session) health(ctx context.Context, f healthFlags) error {
	v, away, err := s.examine(ctx, f)
	if err != nil {
		if f.nagios {
			s.print("POSTHORN UNKNOWN - %s\n", err)
			return outcome(nagiosCode(monitor.Unknown))
		}
		return err
	}
	found, worst := s.findings(v, away, f.only)
	if f.nagios {
		return s.tellNagios(found, worst)
	}
	if err := s.showHealth(f.output, found, worst); err != nil {
		return err
	}
	least := monitor.Unknown
	if f.failOn == "warning" {
		least = monitor.Warning
	}
	switch {
	case away:
		return outcome(exitUnreachable)
	case worst >= least:
		return outcome(exitFailed)
	}
	return nil
}

// examine judges once. away reports whether the store is unreachable. An error
// means that nothing can be said.
func (s *session) examine(ctx context.Context, f healthFlags) (v monitor.Verdict, away bool, err error) {
	if err := f.check(); err != nil {
		return v, false, err
	}
	cfg, err := s.config()
	if err != nil {
		return v, false, err
	}
	engine := monitor.Engine{Rules: f.rules(cfg)}
	return s.glance(ctx, cfg, engine)
}

// rules are the configured ones with the thresholds of the flags.
func (f healthFlags) rules(cfg *config.Config) []monitor.Rule {
	rules := slices.Clone(cfg.Monitor.Rules)
	for i := range rules {
		switch r := &rules[i]; {
		case r.Name == monitor.RuleFailed && f.maxFailed >= 0:
			r.Critical = float64(f.maxFailed)
		case r.Name == monitor.RuleOldest && f.maxAge > 0:
			r.Warning = f.maxAge.Seconds()
			r.Critical = math.Max(r.Critical, r.Warning)
		}
	}
	return rules
}

// findings are the checks that were asked for, and the worst level among them.
// Where the store is away, what it would have told is left out.
func (s *session) findings(v monitor.Verdict, away bool, only []string) (found []finding, worst monitor.Level) {
	for _, c := range v.Checks {
		asked := len(only) == 0 || slices.Contains(only, c.Name)
		silent := away && c.Name != monitor.RuleStore && c.Level == monitor.Unknown
		if silent || !asked && (!away || c.Name != monitor.RuleStore) {
			continue
		}
		found = append(found, finding{Check: c.Name, Level: c.Level, Text: c.Text, Try: s.command(c.Try), perf: c.Perf})
		worst = max(worst, c.Level)
	}
	return found, worst
}

// command puts the program's name before what to run.
func (s *session) command(try string) string {
	if try == "" {
		return ""
	}
	return s.app.Name + " " + try
}

func (s *session) showHealth(as string, found []finding, worst monitor.Level) error {
	err := show(s, as, listing[finding]{
		kind: "Health", rows: found, extra: map[string]any{"level": worst}, name: func(d finding) string { return d.Check },
		columns: []column[finding]{
			{head: "CHECK", cell: func(d finding) string { return d.Check }},
			{head: "LEVEL", cell: func(d finding) string { return d.Level.String() }},
			{head: "FINDING", flex: true, cell: func(d finding) string { return d.Text }},
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

// nagiosCode is the exit code of a plugin (Monitoring Plugins Development
// Guidelines, 2.3).
func nagiosCode(l monitor.Level) int {
	return map[monitor.Level]int{monitor.OK: 0, monitor.Warning: 1, monitor.Critical: 2, monitor.Unknown: 3}[l]
}

func (s *session) tellNagios(found []finding, worst monitor.Level) error {
	var texts, perf []string
	for _, d := range found {
		if d.Level == worst && (worst != monitor.OK || len(texts) < 4) {
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
	if worst == monitor.OK {
		return nil
	}
	return outcome(nagiosCode(worst))
}
