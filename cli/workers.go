package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
)

// workerRow is one worker, as output shows it.
type workerRow struct {
	ID          string       `json:"id"`
	Program     string       `json:"program"`
	Host        string       `json:"host"`
	PID         int          `json:"pid"`
	Version     string       `json:"version"`
	State       string       `json:"state"` // silent when it has not been heard of lately
	Told        driver.Order `json:"told,omitempty"`
	Queues      []string     `json:"queues"`
	Kinds       []string     `json:"kinds"`
	Started     time.Time    `json:"started_at"`
	Seen        time.Time    `json:"seen_at"`
	Uptime      float64      `json:"uptime_seconds"`
	Handled     int64        `json:"handled"`
	Failed      int64        `json:"failed"`
	RSS         int64        `json:"rss_bytes"`
	InFlight    int          `json:"in_flight"`
	Concurrency int          `json:"concurrency"`
	Limits      limitsRow    `json:"limits"`
	Holds       []holdRow    `json:"holds"`

	up, seen time.Duration
}

// limitsRow are the limits of a worker; a zero is none.
type limitsRow struct {
	Messages int     `json:"messages"`
	Failures int     `json:"failures"`
	Time     float64 `json:"time_seconds"`
	Memory   int64   `json:"memory_bytes"`

	time time.Duration
}

// holdRow is a message in hand.
type holdRow struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`

	held time.Duration
}

// stateSilent is shown for a worker that has not been heard of lately.
const stateSilent = "silent"

// workerRowOf words a worker; now is the store's clock.
func workerRowOf(w driver.WorkerRecord, now time.Time) workerRow {
	r := workerRow{
		ID: w.ID, Program: w.Program, Host: w.Host, PID: w.PID, Version: w.Version, State: w.State, Told: w.Told,
		Queues: w.Queues, Kinds: w.Kinds, Started: w.Started.UTC(), Seen: w.Seen.UTC(),
		Handled: w.Handled, Failed: w.Failed, RSS: w.RSS, InFlight: w.InFlight, Concurrency: w.Concurrency,
		Limits: limitsRow{
			Messages: w.Limits.Messages, Failures: w.Limits.Failures, Memory: w.Limits.Memory,
			Time: w.Limits.Time.Seconds(), time: w.Limits.Time,
		},
		Holds: []holdRow{}, up: max(now.Sub(w.Started), 0), seen: max(now.Sub(w.Seen), 0),
	}
	r.Uptime = r.up.Seconds()
	if !alive(w, now) {
		r.State = stateSilent
	}
	for _, h := range w.Holds {
		r.Holds = append(r.Holds, holdRow{h.ID, h.Kind, h.Since.UTC(), max(now.Sub(h.Since), 0)})
	}
	return r
}

// state is the state with the order that stands.
func (r workerRow) state() string {
	if r.Told == driver.OrderStop && r.State == workerRunning {
		return r.State + ", told to stop"
	}
	return r.State
}

// of shows a figure with its limit, if there is one.
func of(value, limit string, limited bool) string {
	if limited {
		return value + "/" + limit
	}
	return value
}

func (r workerRow) memory() string {
	return of(mebibytes(r.RSS), mebibytes(r.Limits.Memory), r.Limits.Memory > 0)
}

func (r workerRow) handled() string {
	return of(strconv.FormatInt(r.Handled, 10), strconv.Itoa(r.Limits.Messages), r.Limits.Messages > 0)
}

func (r workerRow) failed() string {
	return of(strconv.FormatInt(r.Failed, 10), strconv.Itoa(r.Limits.Failures), r.Limits.Failures > 0)
}

func (r workerRow) uptime() string {
	return of(age(r.up), config.FormatDuration(r.Limits.time.Round(time.Second)), r.Limits.time > 0)
}

// mebibytes shows memory as coarsely as people read it; "-" is unknown.
func mebibytes(n int64) string {
	if n <= 0 {
		return "-"
	}
	const mebibyte = 1 << 20
	return strconv.FormatInt((n+mebibyte/2)/mebibyte, 10) + "MiB"
}

func (s *session) workersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "workers", Short: "List and show the workers of every host",
		Example: s.example(`
			workers list
			workers show ID`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.workersListCommand(), s.workersShowCommand())
	return cmd
}

func (s *session) workersListCommand() *cobra.Command {
	var which workerFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the workers, the oldest first",
		Long: `List the workers of the store, on every host, the oldest first. One that has not been heard of for half a
minute is silent: it has died without a word, or cannot reach the store.`,
		Example: s.example(`
			workers list
			workers list --program messenger-consume -o wide
			workers list --host web1 -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := s.workerRows(cmd.Context(), which)
			if err != nil {
				return err
			}
			return show(s, output, workerListing(rows))
		},
	}
	which.define(cmd)
	outputFlag(cmd, &output)
	return cmd
}

// workerRows are the workers that are registered, those that are silent included.
func (s *session) workerRows(ctx context.Context, which workerFlags) (rows []workerRow, err error) {
	st, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	all, now, err := st.Workers(ctx)
	for _, w := range all {
		if which.filter().Matches(w) {
			rows = append(rows, workerRowOf(w, now))
		}
	}
	return rows, err
}

func workerListing(rows []workerRow) listing[workerRow] {
	return listing[workerRow]{
		kind: "WorkerList", rows: rows, name: func(r workerRow) string { return r.ID },
		columns: []column[workerRow]{
			{head: "ID", cell: func(r workerRow) string { return r.ID }},
			{head: "PROGRAM", yields: 1, flex: true, cell: func(r workerRow) string { return r.Program }},
			{head: "HOST", yields: 6, flex: true, cell: func(r workerRow) string { return r.Host }},
			{head: "PID", yields: 7, right: true, cell: func(r workerRow) string { return strconv.Itoa(r.PID) }},
			{head: "STATE", cell: workerRow.state},
			{head: "RSS", yields: 3, right: true, cell: workerRow.memory},
			{head: "HANDLED", yields: 4, right: true, cell: workerRow.handled},
			{head: "FAILED", right: true, wide: true, cell: workerRow.failed},
			{head: "UPTIME", yields: 5, right: true, cell: workerRow.uptime},
			{head: "IN FLIGHT", yields: 2, right: true, cell: func(r workerRow) string { return strconv.Itoa(r.InFlight) }},
			{head: "CONCURRENCY", right: true, wide: true, cell: func(r workerRow) string {
				return strconv.Itoa(r.Concurrency)
			}},
			{head: "SEEN", right: true, cell: func(r workerRow) string { return since(r.seen) + " ago" }},
			{head: "VERSION", wide: true, cell: func(r workerRow) string { return r.Version }},
			{head: "QUEUES", wide: true, cell: func(r workerRow) string { return strings.Join(r.Queues, ",") }},
		},
	}
}

func (s *session) workersShowCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "show ID...", Short: "Show workers with their limits and what they have in hand",
		Example: s.example(`
			workers show w-4711-abcdefghij
			workers show ID -o json`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.showWorkers(cmd.Context(), args, output) },
	}
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) showWorkers(ctx context.Context, ids []string, as string) error {
	rows, err := s.workerRows(ctx, workerFlags{ids: ids})
	if err != nil {
		return err
	}
	if as != formTable && as != formWide && len(rows) > 0 {
		if err := show(s, as, workerListing(rows)); err != nil {
			return err
		}
	} else {
		for i, r := range rows {
			if i > 0 {
				s.print("\n")
			}
			s.describeWorker(r)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return slices.ContainsFunc(rows, func(r workerRow) bool { return r.ID == id })
	})
	switch {
	case len(missing) == 0:
		return nil
	case len(rows) == 0:
		return &fault{
			Code: "E-NOTHING-MATCHED", Title: "no such worker", What: strings.Join(missing, ", "), Exit: exitNothing,
			Try: s.app.Name + " workers list",
		}
	}
	s.say("no worker: %s\n", strings.Join(missing, ", "))
	return outcome(exitPartly)
}

// describeWorker writes a worker for a reader.
func (s *session) describeWorker(r workerRow) {
	line := func(name, value string) { s.print("%-11s %s\n", name, value) }
	line("id", r.ID)
	line("program", fmt.Sprintf("%s, version %s", r.Program, r.Version))
	line("process", fmt.Sprintf("%d on %s", r.PID, r.Host))
	line("state", fmt.Sprintf("%s, seen %s ago", r.state(), since(r.seen)))
	line("started", fmt.Sprintf("%s, up %s", moment(r.Started), r.uptime()))
	line("memory", r.memory())
	line("handled", fmt.Sprintf("%s, failed %s", r.handled(), r.failed()))
	line("queues", strings.Join(r.Queues, ", "))
	line("kinds", strings.Join(r.Kinds, ", "))
	line("in flight", fmt.Sprintf("%d, %d handled at the same time", r.InFlight, r.Concurrency))
	for _, h := range r.Holds {
		s.print("  %s  %s  for %s\n", h.ID, h.Kind, since(h.held))
	}
	if more := r.InFlight - len(r.Holds); more > 0 {
		s.print("  and %d more\n", more)
	}
}
