package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// letterRow is a dead letter, as output shows it.
type letterRow struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Queue      string            `json:"queue"`
	Reason     string            `json:"reason"`
	Class      string            `json:"class"`
	Error      string            `json:"error"`
	Attempts   int               `json:"attempts"`
	Deliveries int               `json:"deliveries"`
	Crashes    int               `json:"crashes"`
	SentAt     time.Time         `json:"sent_at"`
	DiedAt     time.Time         `json:"died_at"`
	Discarded  *time.Time        `json:"discarded_at,omitempty"`
	Priority   int               `json:"priority"`
	Edits      int               `json:"edits,omitempty"` // since it died
	Header     map[string]string `json:"header,omitempty"`
	Body       json.RawMessage   `json:"body,omitempty"`        // if it is JSON
	Base64     string            `json:"body_base64,omitempty"` // if it is not
	History    []attemptRow      `json:"history,omitempty"`
}

// attemptRow is one line of a history.
type attemptRow struct {
	Number   int       `json:"number"`
	Started  time.Time `json:"started_at"`
	Duration float64   `json:"duration_seconds"`
	Class    string    `json:"class"`
	Worker   string    `json:"worker"`
	Error    string    `json:"error,omitempty"`
	Stack    string    `json:"stack,omitempty"`

	took time.Duration
}

func rowOf(l store.Letter) letterRow {
	r := letterRow{
		ID: l.ID, Kind: l.Kind, Queue: l.Queue, Reason: l.Reason, Class: string(l.Class), Error: l.Error,
		Attempts: l.Attempt, Deliveries: l.Deliveries, Crashes: l.Crashes, SentAt: l.SentAt.UTC(), DiedAt: l.DiedAt.UTC(),
		Priority: l.Priority, Edits: l.Revision, Header: l.Header,
	}
	if l.Class.Counts() { // the last attempt is not among those that the envelope counts
		r.Attempts++
	}
	if !l.Discarded.IsZero() {
		at := l.Discarded.UTC()
		r.Discarded = &at
	}
	return r
}

// withContent adds the body and the history.
func (r letterRow) withContent(l store.Letter, history []driver.Attempt) letterRow {
	if json.Valid(l.Body) {
		r.Body = l.Body
	} else {
		r.Base64 = base64.StdEncoding.EncodeToString(l.Body)
	}
	for _, a := range history {
		r.History = append(r.History, attemptRow{
			Number: a.Number, Started: a.Started.UTC(), Duration: a.Duration.Seconds(), Class: string(a.Class),
			Worker: a.Worker, Error: a.Error, Stack: a.Stack, took: a.Duration,
		})
	}
	return r
}

func (s *session) failedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "failed", Short: "List, show, try, edit, retry and remove dead letters",
		Example: s.example(`
			failed list
			failed show ID
			failed retry ID`),
		Args: cobra.ArbitraryArgs, RunE: s.family,
	}
	cmd.AddCommand(s.failedListCommand(), s.failedShowCommand(),
		s.changeCommand(retryLetters()), s.changeCommand(removeLetters()),
		s.failedEditCommand(), s.changeCommand(restoreLetters()), s.failedExportCommand(), s.failedImportCommand(),
		s.failedTryCommand())
	return cmd
}

// letterFlags are the filters of dead letters.
type letterFlags struct {
	queue, kind, reason, class, after, before string
	discarded                                 bool
	limit                                     int
}

func (f *letterFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.queue, "queue", "", "only of this `queue`")
	fs.StringVar(&f.kind, "kind", "", "only of this `kind`")
	fs.StringVar(&f.reason, "reason", "", "only with this `reason`, like retries_exhausted")
	fs.StringVar(&f.class, "class", "", "only whose last attempt ended in this `class`, like timeout")
	fs.StringVar(&f.after, "failed-after", "", "only that failed at this `time` or later")
	fs.StringVar(&f.before, "failed-before", "", "only that failed before this `time`")
	group(cmd, "Which", "queue", "kind", "reason", "class", "failed-after", "failed-before")
}

func (f *letterFlags) filter() (store.LetterFilter, error) {
	out := store.LetterFilter{
		Queue: f.queue, Kind: f.kind, Reason: f.reason, Class: f.class, Discarded: f.discarded, Limit: f.limit,
	}
	var err error
	if out.After, err = parseTime("failed-after", f.after); err != nil {
		return out, err
	}
	out.Before, err = parseTime("failed-before", f.before)
	return out, err
}

// words are the filter as people read it.
func (f *letterFlags) words() string {
	var out []string
	for _, w := range [][2]string{
		{"queue", f.queue}, {"kind", f.kind}, {"reason", f.reason}, {"class", f.class}, {"after", f.after},
		{"before", f.before},
	} {
		if w[1] != "" {
			out = append(out, w[0]+":"+w[1])
		}
	}
	if f.limit > 0 {
		out = append(out, "limit:"+strconv.Itoa(f.limit))
	}
	return strings.Join(out, " ")
}

// any reports whether a filter was given.
func (f *letterFlags) any() bool {
	return f.queue+f.kind+f.reason+f.class+f.after+f.before != ""
}

// defaultLetters is how many dead letters a list shows.
const defaultLetters = 100

func (s *session) failedListCommand() *cobra.Command {
	var f letterFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, the oldest first",
		Example: s.example(`
			failed list
			failed list --kind welcome --failed-after '2026-01-31 08:00'
			failed list --reason rejected -o name`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listFailed(cmd.Context(), f, output) },
	}
	f.define(cmd)
	cmd.Flags().BoolVar(&f.discarded, "discarded", false, "those that somebody removed")
	cmd.Flags().IntVar(&f.limit, "limit", defaultLetters, "at most `N`")
	group(cmd, "Which", "discarded", "limit")
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) listFailed(ctx context.Context, f letterFlags, as string) error {
	if f.limit < 1 {
		return usage("--limit is below 1", "give a positive number")
	}
	filter, err := f.filter()
	if err != nil {
		return err
	}
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	filter.Limit++ // one more tells whether there are more
	letters, err := st.Letters(ctx, filter)
	if err != nil {
		return err
	}
	more := len(letters) > f.limit
	if more {
		letters = letters[:f.limit]
	}
	rows := make([]letterRow, len(letters))
	for i, l := range letters {
		rows[i] = rowOf(l)
	}
	err = show(s, as, letterListing(rows))
	if more {
		s.say("there are more: show them with --limit\n")
	}
	return err
}

func letterListing(rows []letterRow) listing[letterRow] {
	return listing[letterRow]{
		kind: "FailedList", rows: rows, name: func(r letterRow) string { return r.ID },
		columns: []column[letterRow]{
			{head: "ID", cell: func(r letterRow) string { return r.ID }},
			{head: "KIND", flex: true, cell: func(r letterRow) string { return r.Kind }},
			{head: "QUEUE", cell: func(r letterRow) string { return r.Queue }},
			{head: "REASON", cell: func(r letterRow) string { return r.Reason }},
			{head: "CLASS", wide: true, cell: func(r letterRow) string { return r.Class }},
			{head: "ATTEMPTS", right: true, cell: func(r letterRow) string { return strconv.Itoa(r.Attempts) }},
			{head: "CRASHES", right: true, wide: true, cell: func(r letterRow) string { return strconv.Itoa(r.Crashes) }},
			{head: "SENT AT", wide: true, cell: func(r letterRow) string { return moment(r.SentAt) }},
			{head: "DIED AT", cell: func(r letterRow) string { return moment(r.DiedAt) }},
			{head: "ERROR", flex: true, cell: func(r letterRow) string { return r.Error }},
		},
	}
}

// moment shows a time in the local zone, with the zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.RFC3339)
}
