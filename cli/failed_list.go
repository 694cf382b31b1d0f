package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

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
	f.limit = defaultLetters
	countFlag(cmd.Flags(), &f.limit, "limit", "at most `N`")
	pastFlag(cmd.Flags(), &f.past, "only those past the one with this `number`, for the next page")
	group(cmd, "Which", "discarded", "limit", "past")
	outputFlag(cmd, &output)
	return cmd
}

func (s *session) listFailed(ctx context.Context, f letterFlags, as string) error {
	st, filter, err := s.narrowed(ctx, &f)
	if err != nil {
		return err
	}
	filter.Past, filter.Reach, filter.Within, filter.Bare = f.past, stepReach, stepWithin, true
	bar := newProgress(s, nil)
	page, stopped := failure.Search(ctx, st, filter, func(p store.LetterPage) {
		bar.noun = fmt.Sprintf("%d found, searched", len(p.Letters))
		bar.set(p.Searched, 0)
	})
	bar.end()
	if stopped != nil && (ctx.Err() == nil || page.Next == 0) {
		return stopped
	}
	rows := make([]letterRow, len(page.Letters))
	for i, l := range page.Letters {
		rows[i] = letterRow{Letter: view.OfLetter(l).Hide()}
	}
	list := letterListing(rows)
	if page.Next > 0 {
		list.extra = map[string]any{"next": page.Next, "searched": page.Searched}
	}
	if err := show(s, as, list); err != nil || page.Next == 0 {
		return err
	}
	if stopped != nil {
		s.say("interrupted: searched %d dead letters: go on with --past %d\n", page.Searched, page.Next)
		return outcome(exitPartly)
	}
	return s.sayMore(ctx, st, filter, page)
}

// Bounds of a step of a search.
const (
	stepReach  = 20_000 // letters
	stepWithin = 500 * time.Millisecond
)

// sayMore says how much a list has not shown, and how to go on.
func (s *session) sayMore(ctx context.Context, st *store.Store, f store.LetterFilter, p store.LetterPage) error {
	f.Reach = 0
	rest, err := failure.RestOf(ctx, st, f, p)
	if err != nil {
		return err
	}
	more := strconv.FormatInt(rest.N, 10)
	if !rest.Exact {
		more += "+"
	}
	if rest.Unsearched {
		s.say("searched %d dead letters, and not %s others: go on with --past %d\n", p.Searched, more, p.Next)
		return nil
	}
	s.say("there are more, %s: go on with --past %d\n", more, p.Next)
	return nil
}

func letterListing(rows []letterRow) listing[letterRow] {
	return listing[letterRow]{
		kind: "FailedList", rows: rows, name: func(r letterRow) string { return r.ID },
		columns: []column[letterRow]{
			{head: "ID", cell: func(r letterRow) string { return r.ID }},
			{head: "KIND", yields: 1, flex: true, cell: func(r letterRow) string { return r.Kind }},
			{head: "QUEUE", yields: 4, cell: func(r letterRow) string { return r.Queue }},
			{head: "REASON", yields: 3, cell: func(r letterRow) string { return r.Reason }},
			{head: "CLASS", wide: true, cell: func(r letterRow) string { return r.Class }},
			{head: "ATTEMPTS", yields: 5, right: true, cell: func(r letterRow) string { return strconv.Itoa(r.Attempts) }},
			{head: "CRASHES", right: true, wide: true, cell: func(r letterRow) string { return strconv.Itoa(r.Crashes) }},
			{head: "SENT AT", wide: true, cell: func(r letterRow) string { return moment(r.SentAt) }},
			when("DIED AT", func(r letterRow) time.Time { return r.DiedAt }).yielding(2),
			{head: "ERROR", flex: true, cell: func(r letterRow) string { return r.Error }},
		},
	}
}
