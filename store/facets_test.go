package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
