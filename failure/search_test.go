package failure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// byNumber chooses the letters of mourned whose number is one of some.
func byNumber(numbers ...int) (f store.LetterFilter) {
	t := store.Term{Field: store.FieldPayload, Path: "N", Op: store.OpIs}
	for _, n := range numbers {
		t.Values = append(t.Values, strconv.Itoa(n))
	}
	return store.LetterFilter{Terms: []store.Term{t}, Limit: 2, Reach: 3}
}

func TestASearchGoesOnUntilThePageIsFullOrAllWasLookedThrough(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	mourned(t, s, 20)
	for _, c := range []struct {
		numbers  []int
		found    int
		searched int // if the search ended where it has looked, and not further
		more     bool
	}{
		{[]int{19}, 1, 0, false},
		{[]int{99}, 0, 0, false},
		{[]int{0, 8}, 2, 9, true}, // full at the end of a step: whether there are more is not known
		{[]int{0, 1, 19}, 2, 3, true},
		{[]int{0, 1, 2, 19}, 2, 0, true}, // one more is seen in the step that fills it
	} {
		steps := 0
		page, err := failure.Search(t.Context(), s, byNumber(c.numbers...), func(p store.LetterPage) {
			if steps++; p.Searched != 3*steps || p.Next == 0 {
				t.Errorf("%v: after %d steps it tells %+v", c.numbers, steps, p)
			}
		})
		if err != nil || len(page.Letters) != c.found || page.Searched != c.searched || page.Next > 0 != c.more {
			t.Errorf("%v: it found %d, searched %d, next %d, %v", c.numbers, len(page.Letters), page.Searched, page.Next, err)
		}
	}
}

func TestASearchThatIsInterruptedKeepsWhatItHasFound(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	mourned(t, s, 20)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	page, err := failure.Search(ctx, s, byNumber(1, 19), func(p store.LetterPage) {
		if p.Searched == 6 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || len(page.Letters) != 1 || page.Searched != 6 {
		t.Fatalf("it found %d, searched %d, %v", len(page.Letters), page.Searched, err)
	}
	f := byNumber(1, 19)
	f.Past = page.Next
	page, err = failure.Search(t.Context(), s, f, nil)
	if err != nil || len(page.Letters) != 1 || page.Next != 0 {
		t.Errorf("from there on it found %d, next %d, %v", len(page.Letters), page.Next, err)
	}
}

// Each step, and each page of an export, would look up anew between which letters the times
// of a filter lie.
func TestTheBoundsOfTimesAreLookedUpOnce(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	mourned(t, s, 120)
	span := s.SQL.LetterSpan
	f := byNumber(99)
	f.After, f.Before = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	page, err := failure.Search(t.Context(), s, f, func(store.LetterPage) {
		s.SQL.LetterSpan = "this statement has been run"
	})
	if err != nil || len(page.Letters) != 1 || page.Next != 0 || s.SQL.LetterSpan == span {
		t.Errorf("it found %d, next %d, %v", len(page.Letters), page.Next, err)
	}
	s.SQL.LetterSpan = span
	n, err := failure.Export(t.Context(), s, store.LetterFilter{After: f.After}, writer(func() {
		s.SQL.LetterSpan = "this statement has been run"
	}))
	if err != nil || n != 120 || s.SQL.LetterSpan == span {
		t.Errorf("it exported %d, %v", n, err)
	}
}

// A writer hears of all that is written.
type writer func()

// Write calls it.
func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

func TestWhatFollowsAPageIsWhatFitsOrWhatWasNotLookedThrough(t *testing.T) {
	s := open(t, "SQLite", store.Options{})
	mourned(t, s, 20)
	for _, c := range []struct {
		filter     store.LetterFilter
		rest       int64
		unsearched bool
	}{
		{store.LetterFilter{Limit: 5}, 15, false},
		{store.LetterFilter{Limit: 50}, 0, false},
		{byNumber(0, 1, 2, 4), 2, false},
		{byNumber(19), 17, true},
	} {
		page, err := s.LetterPage(t.Context(), c.filter)
		try(t, err)
		c.filter.Reach = 0
		rest, err := failure.RestOf(t.Context(), s, c.filter, page)
		try(t, err)
		if want := (store.LetterTotal{N: c.rest, Exact: true}); rest.LetterTotal != want || rest.Unsearched != c.unsearched {
			t.Errorf("after a page of %+v there are %+v", c.filter, rest)
		}
	}
}

// Where letters are walked through, what is left to be searched are dead and removed ones
// of all kinds, as what was searched.
func TestWhatWasNotLookedThroughIsOfAllThatIsWalked(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		mourned(t, s, 20)
		all, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		var seqs []int64
		for _, l := range all[10:] {
			seqs = append(seqs, l.Seq)
		}
		_, err = s.RemoveLetters(t.Context(), seqs...)
		try(t, err)
		rare := fmt.Sprintf("update posthorn_letter set kind = 'rare' where seq > %d", seqs[4])
		_, err = s.DB().ExecContext(t.Context(), rare)
		try(t, err)
		for name, f := range map[string]store.LetterFilter{
			"removed":           {Discarded: true},
			"removed of a kind": {Discarded: true, Kind: "rare"},
			"dead":              {},
		} {
			f.Terms, f.Reach, f.Limit = byNumber(99).Terms, 3, 2
			page, err := s.LetterPage(t.Context(), f)
			try(t, err)
			f.Reach = 0
			rest, err := failure.RestOf(t.Context(), s, f, page)
			try(t, err)
			if page.Searched != 3 || !rest.Unsearched || rest.LetterTotal != (store.LetterTotal{N: 17, Exact: true}) {
				t.Errorf("%s: after %d of 20 there are %+v", name, page.Searched, rest)
			}
		}
	})
}

// A search looks through what an index leads to, and that is the first thing that is said;
// to removed letters none leads but by their ids.
func TestTheWideFilterIsWhatAnIndexLeadsTo(t *testing.T) {
	full := store.LetterFilter{
		IDs: []string{"a"}, Group: "g", Kind: "k", Queue: "q", Class: "c", Reason: "r", Terms: byNumber(1).Terms,
	}
	var got []string
	for range 5 {
		for _, full.Discarded = range []bool{false, true} {
			w := full.Wide()
			got = append(got, fmt.Sprintf("%v%s%s%s%s%s%d", w.IDs, w.Group, w.Kind, w.Queue, w.Class, w.Reason, len(w.Terms)))
		}
		switch {
		case full.IDs != nil:
			full.IDs = nil
		case full.Group != "":
			full.Group = ""
		case full.Kind != "":
			full.Kind = ""
		default:
			full.Queue = ""
		}
	}
	want := []string{"[a]0", "[a]0", "[]g0", "[]0", "[]k0", "[]0", "[]q0", "[]0", "[]c0", "[]0"}
	if !slices.Equal(got, want) {
		t.Errorf("they are %q, want %q", got, want)
	}
}
