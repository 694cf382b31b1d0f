package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// alertRow is an alert that stands, as output shows it.
type alertRow struct {
	monitor.Condition
	ID       string         `json:"id"`
	Channels []receiptRow   `json:"channels"`
	Silence  *alert.Silence `json:"silenced_by,omitempty"`

	lasts time.Duration
}

// receiptRow is what one channel was told of an alert.
type receiptRow struct {
	Channel string     `json:"channel"`
	Told    *time.Time `json:"told,omitempty"`
	Tries   int        `json:"failed_tries"`
	Error   string     `json:"error,omitempty"`
}

// String says it in a word.
func (r receiptRow) String() string {
	switch {
	case r.Tries > 0:
		return fmt.Sprintf("%s (failed %d times)", r.Channel, r.Tries)
	case r.Told == nil:
		return r.Channel + " (not yet)"
	}
	return r.Channel
}

func (s *session) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "alerts", Short: "List alerts, try the channels, and silence what is known",
		Example: s.example(`
			alerts list
			alerts test
			alerts silence failed --for 2h --reason 'the bank is down'
			alerts silences`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.alertsListCommand(), s.alertsTestCommand(), s.silenceCommand(), s.silencesCommand(),
		s.unsilenceCommand())
	return cmd
}

func (s *session) alertsListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the alerts that stand, whom they were told to, and who has silenced them",
		Long: `List what the monitors of all hosts have told, and have yet to tell. What is wrong right now is what status
says: an alert stands when it has lasted, and only while a monitor runs.`,
		Example: s.example(`
			alerts list
			alerts list -o wide
			alerts list -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listAlerts(cmd.Context(), output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) listAlerts(ctx context.Context, as string) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	state, now, err := s.alertState(ctx)
	if err != nil {
		return err
	}
	var rows []alertRow
	for _, a := range state.Standing() {
		a.Condition.Try = s.command(a.Condition.Try)
		row := alertRow{Condition: a.Condition, ID: a.ID, Channels: receipts(cfg, a), lasts: now.Sub(a.Condition.Since)}
		if by, ok := state.Silenced(a.Condition, now); ok {
			row.Silence = &by
		}
		rows = append(rows, row)
	}
	return show(s, as, alertListing(rows))
}

// receipts are what each channel was told: the configured ones, in their order.
func receipts(cfg *config.Config, a alert.Alert) []receiptRow {
	out := []receiptRow{}
	for _, c := range cfg.Alerts.Channels {
		r := a.Receipts[c.Name]
		row := receiptRow{Channel: c.Name, Tries: r.Tries, Error: r.Error}
		if !r.At.IsZero() {
			row.Told = &r.At
		}
		out = append(out, row)
	}
	return out
}

func alertListing(rows []alertRow) listing[alertRow] {
	return listing[alertRow]{
		kind: "AlertList", rows: rows, name: func(r alertRow) string { return r.ID },
		columns: []column[alertRow]{
			{head: "LEVEL", cell: func(r alertRow) string { return r.Level.String() }},
			{head: "ALERT", cell: func(r alertRow) string { return r.Name }},
			{head: "SUBJECT", flex: true, cell: func(r alertRow) string { return subjectOf(r.Condition) }},
			{head: "FOR", yields: 3, right: true, cell: func(r alertRow) string { return age(max(r.lasts, 0)) }},
			{head: "TOLD", yields: 2, flex: true, cell: func(r alertRow) string { return orDash(r.Channels) }},
			{head: "SILENCED", yields: 1, flex: true, cell: func(r alertRow) string {
				if r.Silence == nil {
					return "-"
				}
				return fmt.Sprintf("%s by %s", r.Silence.ID, r.Silence.Actor)
			}},
			{head: "WHAT", flex: true, cell: func(r alertRow) string { return r.Text }},
			{head: "ID", wide: true, cell: func(r alertRow) string { return r.ID }},
		},
	}
}

// orDash lists receipts.
func orDash(all []receiptRow) string {
	var words []string
	for _, r := range all {
		words = append(words, r.String())
	}
	return cmp.Or(strings.Join(words, ", "), "-")
}

// testRow is what came of a test of one channel.
type testRow struct {
	Channel string `json:"channel"`
	Type    string `json:"type"`
	OK      bool   `json:"ok"`
	Text    string `json:"text"`
}

func (s *session) alertsTestCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "test [CHANNEL...]", Short: "Send a test alert by each channel, and say what came of it",
		Long: `Send an alert that is marked as a test by the named channels, or by all, at once and without the store. Exit
code 0: each channel took it; 4: some did not; 1: none did.`,
		Example: s.example(`
			alerts test
			alerts test ops
			alerts test -o json`),
		RunE: func(cmd *cobra.Command, args []string) error { return s.testAlerts(cmd.Context(), args, output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) testAlerts(ctx context.Context, names []string, as string) error {
	channels, err := s.chosenChannels(names)
	if err != nil {
		return err
	}
	rows := make([]testRow, len(channels))
	var wg sync.WaitGroup
	for i, c := range channels {
		wg.Go(func() { rows[i] = s.testChannel(ctx, c) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = show(s, as, listing[testRow]{
		kind: "AlertTest", rows: rows, name: func(r testRow) string { return r.Channel }, columns: []column[testRow]{
			{head: "CHANNEL", cell: func(r testRow) string { return r.Channel }},
			{head: "TYPE", cell: func(r testRow) string { return r.Type }},
			{head: "RESULT", flex: true, cell: func(r testRow) string { return r.Text }},
		},
	})
	failed := len(slices.DeleteFunc(slices.Clone(rows), func(r testRow) bool { return r.OK }))
	switch {
	case err != nil || failed == 0:
		return err
	case failed == len(rows):
		return outcome(exitFailed)
	}
	return outcome(exitPartly)
}

// chosenChannels are the named ones, or all.
func (s *session) chosenChannels(names []string) ([]config.AlertChannel, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, c := range cfg.Alerts.Channels {
		known = append(known, c.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, &fault{
				Code: "E-NOTHING-MATCHED", Title: "no such channel", What: name, Exit: exitNothing,
				Try: meant(name, known, cmp.Or(strings.Join(known, ", "), s.app.Name+" config explain alerts.channels")),
			}
		}
	}
	if len(known) == 0 {
		return nil, &fault{
			Code: "E-NOTHING-MATCHED", Title: "no channel is configured", What: "alerts.channels is empty",
			Exit: exitNothing, Try: "write one: see docs/alerts.md, and " + s.app.Name + " config explain",
		}
	}
	return slices.DeleteFunc(slices.Clone(cfg.Alerts.Channels), func(c config.AlertChannel) bool {
		return len(names) > 0 && !slices.Contains(names, c.Name)
	}), nil
}

// testChannel sends a test by one channel.
func (s *session) testChannel(ctx context.Context, c config.AlertChannel) testRow {
	ctx, cancel := context.WithTimeoutCause(ctx, alert.DefaultWithin, errors.New("no answer within "+
		alert.DefaultWithin.String()))
	defer cancel()
	began := time.Now()
	err := s.sender(c).Send(ctx, []alert.Notice{alert.TestNotice(c.Name, began)})
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	row := testRow{Channel: c.Name, Type: c.Type, OK: err == nil}
	row.Text = "taken after " + time.Since(began).Round(time.Millisecond).String()
	if err != nil {
		row.Text = "failed: " + err.Error()
	}
	return row
}
