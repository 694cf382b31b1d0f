package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/config"
)

// silenceFlags are the flags of alerts silence.
type silenceFlags struct{ during, reason, actor string }

func (s *session) silenceCommand() *cobra.Command {
	var f silenceFlags
	cmd := &cobra.Command{
		Use: "silence RULE|MATCHER", Short: "Keep alerts from being told, on all hosts, for a while",
		Long: `Keep alerts from being told until the silence ends. They are judged, listed and counted as ever. A matcher
is a rule's name or pairs like rule=oldest,subject=mail*,host=web1,level=warning, of which all must match; a star stands
for any letters. The end of an alert that was told before is still told. An alert that stands when the silence ends is
told then.`,
		Example: s.example(`
			alerts silence failed --for 2h --reason 'the bank is down'
			alerts silence 'rule=oldest,subject=reports' --for 1d --reason 'the import of the year'
			alerts silence 'host=web1' --for 30m --reason maintenance`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.silence(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.during, "for", "", "how long, like 2h")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for all who wonder")
	cmd.Flags().StringVar(&f.actor, "by", "", "who silences it (default this user and host)")
	group(cmd, "How long and why", "for", "reason", "by")
	return cmd
}

// silenceOf is what the flags ask for; when it begins and ends is set later.
func (s *session) silenceOf(text string, f silenceFlags) (n alert.Silence, d time.Duration, err error) {
	if n.Match, err = alert.ParseMatcher(text); err != nil {
		return n, d, usage(err.Error(), "give a rule, or pairs like rule=failed,subject=mail*,host=web1,level=warning")
	}
	if rule := n.Match.Rule; rule != "" && !strings.Contains(rule, "*") && !slices.Contains(checkNames(), rule) {
		return n, d, usage("there is no rule "+rule,
			meant(rule, checkNames(), "the rules are "+strings.Join(checkNames(), ", ")))
	}
	if strings.TrimSpace(f.reason) == "" {
		return n, d, usage("--reason is missing", "say why: whoever hears nothing wants to know")
	}
	if d, err = config.ParseDuration(f.during); err != nil || d == 0 {
		return n, d, usage(fmt.Sprintf("--for %q is no length of time", f.during), "write it like 90s, 1h30m or 2d")
	}
	n.Reason, n.Actor = f.reason, cmp.Or(f.actor, s.actor())
	return n, d, nil
}

func (s *session) silence(ctx context.Context, text string, f silenceFlags) error {
	n, d, err := s.silenceOf(text, f)
	if err != nil {
		return err
	}
	err = s.changeAlerts(ctx, func(state alert.State, now time.Time) (alert.State, error) {
		n.Created, n.Until = now, now.Add(d)
		var err error
		state, n, err = state.Silence(n)
		return state, err
	})
	if errors.Is(err, alert.ErrSilence) {
		return usage(err.Error(), s.app.Name+" alerts silences lists them")
	}
	if err != nil {
		return err
	}
	s.print("%s\n", n.ID)
	s.say("%s is silenced until %s; %s alerts unsilence %s ends that\n", n.Match.String(), moment(n.Until), s.app.Name,
		n.ID)
	return nil
}

func (s *session) silencesCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "silences", Short: "List the silences, with who made them, why, and until when",
		Example: s.example(`
			alerts silences
			alerts silences -o name`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.silences(cmd.Context(), output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

// silenceRow is a silence, as output shows it.
type silenceRow struct {
	alert.Silence
	Alerts int `json:"alerts"` // that it keeps from being told now
}

func (s *session) silences(ctx context.Context, as string) error {
	state, now, err := s.alertState(ctx)
	if err != nil {
		return err
	}
	var rows []silenceRow
	for _, n := range state.Silences {
		if !n.Until.After(now) {
			continue
		}
		row := silenceRow{Silence: n}
		for _, a := range state.Standing() {
			if n.Match.Matches(a.Condition) {
				row.Alerts++
			}
		}
		rows = append(rows, row)
	}
	return show(s, as, listing[silenceRow]{
		kind: "SilenceList", rows: rows, name: func(r silenceRow) string { return r.ID },
		columns: []column[silenceRow]{
			{head: "ID", cell: func(r silenceRow) string { return r.ID }},
			{head: "MATCHES", flex: true, cell: func(r silenceRow) string { return r.Match.String() }},
			{head: "ALERTS", yields: 3, right: true, cell: func(r silenceRow) string { return fmt.Sprint(r.Alerts) }},
			{head: "BY", yields: 2, flex: true, cell: func(r silenceRow) string { return r.Actor }},
			when("UNTIL", func(r silenceRow) time.Time { return r.Until }),
			{head: "REASON", flex: true, cell: func(r silenceRow) string { return r.Reason }},
		},
	})
}

func (s *session) unsilenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unsilence ID...", Short: "End silences, so that alerts are told again",
		Example: s.example(`
			alerts unsilence s1
			alerts unsilence s1 s2`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.unsilence(cmd.Context(), args) },
	}
}

func (s *session) unsilence(ctx context.Context, ids []string) error {
	var not []string
	err := s.changeAlerts(ctx, func(state alert.State, now time.Time) (alert.State, error) {
		not = nil
		for _, id := range ids {
			lasts := slices.ContainsFunc(state.Silences, func(n alert.Silence) bool { return n.ID == id && n.Until.After(now) })
			state, _ = state.Unsilence(id)
			if !lasts {
				not = append(not, id)
			}
		}
		return state, nil
	})
	switch {
	case err != nil:
		return err
	case len(not) == len(ids):
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such silence", What: strings.Join(not, ", "), Exit: exitNothing,
			Try: s.app.Name + " alerts silences",
		}
	case len(not) > 0:
		s.say("no such silence: %s\n", strings.Join(not, ", "))
		return outcome(exitPartly)
	}
	return nil
}
