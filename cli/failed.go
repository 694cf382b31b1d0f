package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// letterRow is a dead letter, as output shows it.
type letterRow struct {
	view.Letter
	view.Content
	History []view.Attempt `json:"history,omitempty"`
	Changes []changeRow    `json:"changes,omitempty"` // what people did with it
}

func rowOf(l store.Letter) letterRow { return letterRow{Letter: view.OfLetter(l)} }

// hide hides the secrets of header and body.
func (r letterRow) hide(marks posthorn.Secrets) (letterRow, error) {
	content, paths, err := r.Content.Hide(marks)
	r.Letter, r.Content = r.Letter.Hide(), content
	r.Redacted = append(r.Redacted, paths...)
	return r, err
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
	cmd.AddCommand(s.groupsCommand(), s.failedListCommand(), s.failedShowCommand(),
		s.changeCommand(retryLetters()), s.changeCommand(removeLetters()),
		s.failedEditCommand(), s.changeCommand(restoreLetters()), s.failedExportCommand(), s.failedImportCommand(),
		s.failedTryCommand())
	return cmd
}

// letterFlags are the filters of dead letters.
type letterFlags struct {
	queue, kind, reason, class, after, before string
	group, query                              string
	discarded                                 bool
	limit                                     int
	past                                      int64
}

func (f *letterFlags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.queue, "queue", "", "only of this `queue`")
	fs.StringVar(&f.kind, "kind", "", "only of this `kind`")
	fs.StringVar(&f.reason, "reason", "", "only with this `reason`, like retries_exhausted")
	fs.StringVar(&f.class, "class", "", "only whose last attempt ended in this `class`, like timeout")
	fs.StringVar(&f.after, "failed-after", "", "only that failed at this `time` or later")
	fs.StringVar(&f.before, "failed-before", "", "only that failed before this `time`")
	fs.StringVar(&f.kind, "class-filter", "", "the same as --kind, in Symfony's word")
	fs.StringVar(&f.group, "group", "", "only of the group whose `fingerprint` begins so")
	fs.StringVar(&f.query, "query", "", "only what fits the `query`, like 'error:\"no user\" payload.id:A-17 age>1h'")
	group(cmd, "Which", "queue", "kind", "reason", "class", "class-filter", "failed-after", "failed-before",
		"group", "query")
}

func (f *letterFlags) filter() (store.LetterFilter, error) {
	out := store.LetterFilter{
		Queue: f.queue, Kind: f.kind, Reason: f.reason, Class: f.class, Discarded: f.discarded, Limit: f.limit,
		Group: f.group,
	}
	var err error
	if out.After, err = parseTime("failed-after", f.after); err != nil {
		return out, err
	}
	if out.Before, err = parseTime("failed-before", f.before); err != nil {
		return out, err
	}
	if known := driver.Reasons(); f.reason != "" && !slices.Contains(known, f.reason) {
		return out, usage("--reason "+f.reason+" is none of a dead letter's",
			meant(f.reason, known, "it is one of "+strings.Join(known, ", ")))
	}
	out.Terms, err = failure.ParseQuery(f.query, time.Now())
	return out, queryFault(err)
}

// words are the filter as people read it.
func (f *letterFlags) words() string {
	var out []string
	for _, w := range [][2]string{
		{"queue", f.queue}, {"kind", f.kind}, {"reason", f.reason}, {"class", f.class}, {"after", f.after},
		{"before", f.before}, {"group", f.group},
	} {
		if w[1] != "" {
			out = append(out, w[0]+":"+w[1])
		}
	}
	if f.query != "" {
		out = append(out, f.query)
	}
	if f.limit > 0 {
		out = append(out, "limit:"+strconv.Itoa(f.limit))
	}
	return strings.Join(out, " ")
}

// any reports whether a filter was given.
func (f *letterFlags) any() bool {
	return f.queue+f.kind+f.reason+f.class+f.after+f.before+f.group+f.query != ""
}

// narrowed opens the store, and finds what the flags choose in it.
func (s *session) narrowed(ctx context.Context, f *letterFlags) (st *store.Store, out store.LetterFilter, err error) {
	if st, err = s.existing(ctx); err != nil {
		return nil, out, err
	}
	out, err = s.narrow(ctx, st, f)
	return st, out, err
}

// narrow is filter with the group's whole fingerprint.
func (s *session) narrow(ctx context.Context, st *store.Store, f *letterFlags) (store.LetterFilter, error) {
	out, err := f.filter()
	if err != nil {
		return out, err
	}
	if err := knownClass(ctx, st, out); err != nil || f.group == "" {
		return out, err
	}
	g, err := s.findGroup(ctx, st, f.group)
	out.Group = g.Fingerprint
	return out, err
}

// knownClass refuses a class that neither Posthorn gives nor any letter has: an error may
// name a class of its own.
func knownClass(ctx context.Context, st *store.Store, f store.LetterFilter) error {
	known := driver.Classes()
	if f.Class == "" || slices.Contains(known, driver.Class(f.Class)) {
		return nil
	}
	page, err := st.LetterPage(ctx, store.LetterFilter{Class: f.Class, Discarded: f.Discarded, Limit: 1, Bare: true})
	if err != nil || len(page.Letters) > 0 {
		return err
	}
	names := make([]string, len(known))
	for i, c := range known {
		names[i] = string(c)
	}
	return usage("--class "+f.Class+" is none that Posthorn gives, and no letter has it",
		meant(f.Class, names, "it is one of "+strings.Join(names, ", ")))
}

// queryFault shows the place in the query.
func queryFault(err error) error {
	var wrong *failure.QueryError
	if !errors.As(err, &wrong) {
		return err
	}
	before := uniseg.StringWidth(printable.Text(wrong.Query[:wrong.At]))
	return &fault{
		Code: "E-USAGE", Title: "cannot understand the query", What: wrong.Error(), Try: wrong.Try, Exit: exitUsage,
		Excerpt: printable.Text(wrong.Query) + "\n" + strings.Repeat(" ", before) + "^",
	}
}

// moment shows a time in the local zone, with the zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.RFC3339)
}

// dayOf is moment for a narrow terminal: the year of what is not long ago is left out.
func dayOf(t time.Time) string {
	const months = 300 * 24 * time.Hour
	switch {
	case t.IsZero():
		return "-"
	case time.Since(t) > months:
		return t.Local().Format(time.DateOnly)
	}
	return t.Local().Format("01-02 15:04")
}
