package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

func TestLettersAreCountedByWhatTheyHaveInCommon(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"), failing("b", "y"), failing("c", "x"),
			dead{id: "p", class: "panic", text: "boom"}, failing("gone", "x"))
		ls, err := s.Letters(t.Context(), store.LetterFilter{IDs: []string{"gone"}})
		try(t, err)
		_, err = s.RemoveLetters(t.Context(), ls[0].Seq)
		try(t, err)
		midnight := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
		for id, c := range map[string]struct {
			at          time.Time
			queue, kind string
		}{
			"a": {midnight.Add(-time.Millisecond), "q1", "K"}, "b": {midnight, "q1", "k"},
			"c": {midnight.Add(24*time.Hour - time.Millisecond), "q2", "k"}, "p": {midnight.Add(time.Hour), "q1", "k"},
		} {
			_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf(
				"update posthorn_letter set died_at = %d, queue = '%s', kind = '%s', error_type = '%s' where id = '%s'",
				c.at.UnixMilli(), c.queue, c.kind, map[bool]string{true: "*a.T"}[id == "b"], id))
			try(t, err)
		}
		for by, want := range map[store.Facet]string{
			store.FacetKind: "k:3 K:1", store.FacetQueue: "q1:3 q2:1", store.FacetClass: "failure:3 panic:1",
			store.FacetError: ":3 *a.T:1", store.FacetDay: "2026-01-31:3 2026-01-30:1",
		} {
			if got := facets(t, s, by, store.LetterFilter{}); got != want {
				t.Errorf("by %s: %s, want %s", by, got, want)
			}
		}
		terms := []store.Term{{Field: store.FieldQueue, Op: store.OpIs, Values: []string{"q1"}}}
		if got := facets(t, s, store.FacetDay, store.LetterFilter{Kind: "k", Terms: terms}); got != "2026-01-31:2" {
			t.Errorf("of a filter: %s", got)
		}
		got, err := s.CountBy(t.Context(), store.FacetKind, store.LetterFilter{Kind: "k"})
		if err != nil || len(got) != 1 || !got[0].First.Equal(midnight) ||
			!got[0].Last.Equal(midnight.Add(24*time.Hour-time.Millisecond)) {
			t.Errorf("%+v, %v", got, err)
		}
		if got := facets(t, s, store.FacetKind, store.LetterFilter{Discarded: true}); got != "k:1" {
			t.Errorf("of those that were removed: %s", got)
		}
	})
}

// facets counts letters: values with their counts.
func facets(t *testing.T, s *store.Store, by store.Facet, f store.LetterFilter) string {
	t.Helper()
	cs, err := s.CountBy(t.Context(), by, f)
	try(t, err)
	var out []string
	for _, c := range cs {
		out = append(out, fmt.Sprintf("%s:%d", c.Value, c.Count))
	}
	return strings.Join(out, " ")
}

func TestWhatLettersCannotBeCountedByIsRefused(t *testing.T) {
	t.Parallel()
	s := places(t)["SQLite"].store(t, "")
	inside := []store.Term{{Field: store.FieldPayload, Path: "a", Op: store.OpIs, Values: []string{"1"}}}
	for by, f := range map[store.Facet]store.LetterFilter{
		"seq": {}, "": {}, store.FacetKind: {Terms: inside},
	} {
		if _, err := s.CountBy(t.Context(), by, f); !errors.Is(err, driver.ErrInvalid) {
			t.Errorf("by %q: %v", by, err)
		}
	}
}

// spread gives the letters of askew times of some days, of which one is before 1970, and
// removes some.
func spread(t *testing.T, s *store.Store, n int) {
	t.Helper()
	const hour = 3_600_000
	for i := range n {
		_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf(
			"update posthorn_letter set died_at = %d where id = 'm%d'", (i*7%n-3)*9*hour+i%3-1, i))
		try(t, err)
	}
	for _, id := range []string{"m2", "m3", "m11", "m30"} {
		_, err := s.RemoveLetters(t.Context(), letterOf(t, s, id).Seq)
		try(t, err)
	}
}

// countedSingly counts letters one by one.
func countedSingly(by store.Facet, ls []store.Letter) string {
	ns, first, last := map[string]int{}, map[string]time.Time{}, map[string]time.Time{}
	for _, l := range ls {
		v := map[store.Facet]string{
			store.FacetKind: l.Kind, store.FacetQueue: l.Queue, store.FacetError: l.ErrorType, store.FacetClass: string(l.Class),
			store.FacetDay: l.DiedAt.UTC().Format(time.DateOnly),
		}[by]
		if ns[v]++; ns[v] == 1 || l.DiedAt.Before(first[v]) {
			first[v] = l.DiedAt
		}
		if ns[v] == 1 || l.DiedAt.After(last[v]) {
			last[v] = l.DiedAt
		}
	}
	var out []string
	for v, n := range ns {
		out = append(out, fmt.Sprint(v, " ", n, " ", first[v].UnixMilli(), " ", last[v].UnixMilli()))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Whatever counts them, the counts are those of the letters that the filter chooses.
func TestCountsAreThoseOfCountingOneByOne(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n, day = 40, 24 * time.Hour
		askew(t, s, n)
		spread(t, s, n)
		rapid.Check(t, func(r *rapid.T) {
			f := aFilter(r, n)
			f.Limit, f.Reach, f.Within = 2*n, 0, 0
			at := rapid.Int64Range(-30, 16*24)
			if !f.After.IsZero() {
				f.After = time.UnixMilli(0).Add(time.Duration(at.Draw(r, "after hour")) * time.Hour)
			}
			if !f.Before.IsZero() {
				f.Before = time.UnixMilli(0).Add(time.Duration(at.Draw(r, "before hour")) * time.Hour).Truncate(day)
			}
			f.Discarded = rapid.Bool().Draw(r, "removed")
			if rapid.Bool().Draw(r, "no words") {
				f.Kind, f.Class, f.Terms = "", "", nil
			}
			ls, err := s.Letters(t.Context(), f)
			if err != nil {
				r.Fatal(err)
			}
			by := rapid.SampledFrom(store.Facets()).Draw(r, "by")
			cs, err := s.CountBy(t.Context(), by, f)
			var got []string
			for _, c := range cs {
				got = append(got, fmt.Sprint(c.Value, " ", c.Count, " ", c.First.UnixMilli(), " ", c.Last.UnixMilli()))
			}
			slices.Sort(got)
			if want := countedSingly(by, ls); err != nil || strings.Join(got, "\n") != want {
				r.Errorf("by %s of %+v: %v\n%s\nwant\n%s", by, f, err, strings.Join(got, "\n"), want)
			}
		})
	})
}

// Letters of many years are counted at once, and days after the thousandth are left out as
// other values are; so that the two ways do not differ where they meet.
func TestDaysOfManyYearsAreCounted(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		manyLetters(t, s)
		for _, days := range []int{store.MaxFacetCounts - 1, store.MaxFacetCounts, store.MaxFacetCounts + 1, 8000} {
			_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf(
				"update posthorn_letter set died_at = 86400000 * (seq %% %d) * 3 + seq", days))
			try(t, err)
			got, err := s.CountBy(t.Context(), store.FacetDay, store.LetterFilter{})
			try(t, err)
			want, err := s.CountBy(t.Context(), store.FacetDay, store.LetterFilter{Past: -1}) // not by the index of times
			try(t, err)
			if len(want) != min(days, store.MaxFacetCounts) || !slices.EqualFunc(got, want, func(a, b store.FacetCount) bool {
				return cmp.Or(strings.Compare(a.Value, b.Value), cmp.Compare(a.Count, b.Count),
					a.First.Compare(b.First), a.Last.Compare(b.Last)) == 0
			}) {
				t.Errorf("of %d days: %d counts, want %d, the first %+v, want %+v", days, len(got), len(want), got[:1], want[:1])
			}
		}
	})
}
