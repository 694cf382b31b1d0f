package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/monitor"
)

func (s *session) statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Say whether all is well, and what to do next if not",
		Long: `Judge once, as health does, and list what is wrong, the worst first, each with its meaning and the command to
run next. Exit code 0, whatever is found: health is for scripts; 69: the store is unreachable.`,
		Example: s.example(`
			status
			status -o wide
			status -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.status(cmd.Context(), output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

// subjectOf is what a condition is about, for people.
func subjectOf(c monitor.Condition) string {
	switch {
	case c.Subject == "" && c.Host == "":
		return "-"
	case c.Host == "":
		return c.Subject
	case c.Subject == "":
		return c.Host
	}
	return fmt.Sprintf("%s@%s", c.Subject, c.Host)
}

// status judges once and shows the verdict.
func (s *session) status(ctx context.Context, as string) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	v, away, err := s.glance(ctx, cfg, monitor.Engine{Rules: cfg.Monitor.Rules})
	if err != nil {
		return err
	}
	for i := range v.Conditions {
		v.Conditions[i].Try = s.command(v.Conditions[i].Try)
	}
	for i := range v.Checks {
		v.Checks[i].Try = s.command(v.Checks[i].Try)
	}
	if err := s.showStatus(as, v); err != nil {
		return err
	}
	if away {
		return outcome(exitUnreachable)
	}
	return nil
}

func (s *session) showStatus(as string, v monitor.Verdict) error {
	text := as == formTable || as == formWide
	if text {
		s.print("%s: %s\n", v.Level, verdictText(len(v.Conditions)))
	}
	if text && len(v.Conditions) == 0 {
		return nil
	}
	err := show(s, as, listing[monitor.Condition]{
		kind: "Status", rows: v.Conditions, name: func(c monitor.Condition) string { return c.Name },
		extra: map[string]any{"level": v.Level, "at": v.At, "checks": v.Checks, "actions": v.Actions},
		columns: []column[monitor.Condition]{
			{head: "LEVEL", cell: func(c monitor.Condition) string { return c.Level.String() }},
			{head: "PROBLEM", cell: func(c monitor.Condition) string { return c.Name }},
			{head: "SUBJECT", yields: 1, flex: true, cell: subjectOf},
			{head: "FOR", yields: 2, right: true, cell: func(c monitor.Condition) string {
				return age(max(v.At.Sub(c.Since), 0))
			}},
			{head: "FINDING", flex: true, cell: func(c monitor.Condition) string { return c.Text }},
			{head: "IMPACT", wide: true, cell: func(c monitor.Condition) string { return c.Impact }},
		},
	})
	if !text {
		return err
	}
	for _, c := range v.Conditions {
		if c.Try != "" {
			s.print("%s: try %s\n", c.Name, c.Try)
		}
	}
	for _, a := range v.Actions {
		s.print("%s the monitor did %s of %s because of %s\n", a.At.UTC().Format(time.RFC3339), a.Kind, a.Target, a.Rule)
	}
	return err
}

// verdictText counts the problems.
func verdictText(problems int) string {
	if problems == 0 {
		return "nothing is known to be wrong"
	}
	return plural(problems, "problem")
}
