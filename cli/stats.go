package cli

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/store"
)

// queueRow is one queue, as output shows it.
type queueRow struct {
	Transport string  `json:"transport,omitempty"`
	Queue     string  `json:"queue"`
	Ready     int64   `json:"ready"`
	Delayed   int64   `json:"delayed"`
	InFlight  int64   `json:"in_flight"`
	Suspects  int64   `json:"suspects"`
	Dead      int64   `json:"dead"`
	OldestAge float64 `json:"oldest_age_seconds"`
	NextDue   float64 `json:"next_due_seconds"`

	Paused *pauseRow `json:"paused,omitempty"`

	oldest, next time.Duration
}

// statsFlags are the flags of stats.
type statsFlags struct {
	output   string
	watch    bool
	interval time.Duration
}

func (s *session) statsCommand() *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use: "stats [TRANSPORT...]", Short: "Show how many messages wait, and since when",
		Example: s.example(`
			stats
			stats async --watch
			stats -o json`),
		ValidArgsFunction: s.completeTransports,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.watch {
				return s.watchStats(cmd.Context(), args, f)
			}
			return s.stats(cmd.Context(), args, f.output)
		},
	}
	cmd.Flags().BoolVar(&f.watch, "watch", false, "show it again and again")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "how often")
	group(cmd, "Watching", "watch", "interval")
	outputFlag(cmd, &f.output)
	cmd.Flags().Var(form{&f.output}, "format", "the same as --output; txt is a table")
	group(cmd, "Output", "format")
	return cmd
}

func (s *session) stats(ctx context.Context, names []string, as string) error {
	rows, err := s.queueRows(ctx, names)
	if err != nil {
		return err
	}
	return show(s, as, queueListing(rows))
}

// queueListing shows the figures of queues; suspects and pauses only where there
// are any, or in the wide form.
func queueListing(rows []queueRow) listing[queueRow] {
	suspects := !slices.ContainsFunc(rows, func(r queueRow) bool { return r.Suspects > 0 })
	pauses := !slices.ContainsFunc(rows, func(r queueRow) bool { return r.Paused != nil })
	return listing[queueRow]{
		kind: "QueueStatsList", rows: rows, name: func(r queueRow) string { return r.Queue },
		columns: []column[queueRow]{
			{head: "TRANSPORT", yields: 4, flex: true, cell: func(r queueRow) string { return cmp.Or(r.Transport, "-") }},
			{head: "QUEUE", flex: true, cell: func(r queueRow) string { return r.Queue }},
			count("READY", func(r queueRow) int64 { return r.Ready }),
			count("DELAYED", func(r queueRow) int64 { return r.Delayed }).yielding(3),
			count("IN FLIGHT", func(r queueRow) int64 { return r.InFlight }).yielding(2),
			{head: "SUSPECTS", right: true, wide: suspects, cell: func(r queueRow) string {
				return strconv.FormatInt(r.Suspects, 10)
			}},
			count("DEAD", func(r queueRow) int64 { return r.Dead }),
			{head: "OLDEST", yields: 1, right: true, cell: func(r queueRow) string { return age(r.oldest) }},
			{head: "NEXT DUE", yields: 5, right: true, cell: func(r queueRow) string { return age(r.next) }},
			{head: "PAUSED", wide: pauses, flex: true, cell: func(r queueRow) string {
				if r.Paused == nil {
					return "-"
				}
				return r.Paused.String()
			}},
		},
	}
}

func count[T any](head string, of func(T) int64) column[T] {
	return column[T]{head: head, right: true, cell: func(r T) string { return strconv.FormatInt(of(r), 10) }}
}

// age shows a length of time shortly; "-" is none.
func age(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d >= 48*time.Hour:
		return strconv.Itoa(int(d.Hours()/24)) + "d"
	}
	return config.FormatDuration(d.Round(time.Second))
}

// queueRows are the configured queues, and those that the store has besides.
func (s *session) queueRows(ctx context.Context, names []string) ([]queueRow, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := knownTransport(name, cfg.TransportNames()); err != nil {
			return nil, err
		}
	}
	st, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	stats, err := st.Stats(ctx)
	if err != nil {
		return nil, err
	}
	ps, _, err := st.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	rows := withPauses(mergeQueues(cfg, stats), ps)
	if len(names) > 0 {
		rows = slices.DeleteFunc(rows, func(r queueRow) bool { return !slices.Contains(names, r.Transport) })
	}
	return rows, nil
}

func mergeQueues(cfg *config.Config, stats []store.QueueStats) []queueRow {
	var rows []queueRow
	for _, t := range cfg.Transports {
		for _, queue := range t.Queues {
			row := queueRow{Transport: t.Name, Queue: queue}
			if i := slices.IndexFunc(stats, func(q store.QueueStats) bool { return q.Queue == queue }); i >= 0 {
				row.fill(stats[i])
				stats = slices.Delete(slices.Clone(stats), i, i+1)
			}
			rows = append(rows, row)
		}
	}
	for _, q := range stats {
		row := queueRow{Queue: q.Queue}
		row.fill(q)
		rows = append(rows, row)
	}
	return rows
}

// withPauses adds what is paused.
func withPauses(rows []queueRow, ps []store.Pause) []queueRow {
	for _, p := range ps {
		i := slices.IndexFunc(rows, func(r queueRow) bool { return r.Queue == p.Queue })
		if i < 0 {
			i, rows = len(rows), append(rows, queueRow{Queue: p.Queue})
		}
		rows[i].Paused = pauseRowOf(p)
	}
	return rows
}

func (r *queueRow) fill(q store.QueueStats) {
	r.Ready, r.Delayed, r.InFlight, r.Suspects, r.Dead = q.Ready, q.Delayed, q.InFlight, q.Suspects, q.Dead
	r.oldest, r.next = q.OldestAge, q.NextDue
	r.OldestAge, r.NextDue = q.OldestAge.Seconds(), q.NextDue.Seconds()
}

// watchStats shows the figures until it is told to stop. On a terminal each
// picture takes the place of the one before.
func (s *session) watchStats(ctx context.Context, names []string, f statsFlags) error {
	if f.interval <= 0 {
		return usage("--interval is not positive", "write it like 2s")
	}
	term, _ := s.lookup("TERM")
	redraw := s.io.StdoutTerminal && term != "dumb"
	for first := true; ; first = false {
		switch {
		case redraw:
			_, _ = io.WriteString(s.io.Stdout, "\x1b[H\x1b[2J")
			s.print("every %s: %s stats %s\n\n", f.interval, s.app.Name, strings.Join(names, " "))
		case !first && f.output == formTable:
			s.print("\n")
		}
		err := s.stats(ctx, names, f.output)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if pause(ctx, f.interval); ctx.Err() != nil {
			return nil
		}
	}
}
