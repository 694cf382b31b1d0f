package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// groupsOf lists the groups by their titles.
func groupsOf(t *testing.T, s *store.Store) map[string]store.Group {
	t.Helper()
	gs, _, err := s.Groups(t.Context())
	try(t, err)
	out := map[string]store.Group{}
	for _, g := range gs {
		out[g.Title] = g
	}
	return out
}

func failing(id, text string) dead { return dead{id: id, class: "failure", text: text} }

func TestLettersOfOneFaultAreOneGroup(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		before := time.Now().Add(-time.Minute)
		buryAll(t, s, failing("a", "user 17 is gone"), failing("b", "user 18 is gone"), failing("c", "no room"))
		gs := groupsOf(t, s)
		g := gs["user # is gone"]
		if len(gs) != 2 || g.Count != 2 || g.State != store.GroupOpen || g.FirstBuild != "b1" || g.Kind != "k" ||
			g.Class != driver.ClassFailure || g.ErrorType != "*pq.Error" || g.First.Before(before) || g.Last.Before(g.First) ||
			g.Sample == nil || g.Sample.ID != "b" || len(g.Fingerprint) != 16 || g.Algorithm != "v1" {
			t.Errorf("groups %+v", gs)
		}
		if g.Trend[store.TrendHours-1]+g.Trend[store.TrendHours-2] != 2 {
			t.Errorf("trend %v", g.Trend)
		}
		if got := chosen(t, s, store.LetterFilter{Group: g.Fingerprint, Limit: 1}); got != "a b" {
			t.Errorf("letters of the group: %s", got)
		}
		ls, err := s.Letters(t.Context(), store.LetterFilter{IDs: []string{"a"}})
		if err != nil || ls[0].Fingerprint != g.Fingerprint || ls[0].Build != "b1" || ls[0].ErrorType != "*pq.Error" {
			t.Errorf("letter %+v, %v", ls, err)
		}
		if h, err := s.Attempts(t.Context(), "a"); err != nil || h[0].Build != "b1" {
			t.Errorf("history %+v, %v", h, err)
		}
	})
}

func TestTheTrendOfAGroupIsByHours(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for _, id := range strings.Fields("a b c d e f") {
			buryAll(t, s, failing(id, "x"))
		}
		now, err := s.Now(t.Context())
		try(t, err)
		hour := now.Truncate(time.Hour)
		for id, at := range map[string]time.Time{
			"a": hour.Add(-1000 * time.Hour), "b": hour.Add(-12 * time.Hour), "c": hour.Add(-11 * time.Hour),
			"d": hour.Add(-time.Millisecond), "e": hour, "f": hour,
		} {
			stmt := fmt.Sprintf("update posthorn_letter set died_at = %d where id = '%s'", at.UnixMilli(), id)
			_, err := s.DB().ExecContext(t.Context(), stmt)
			try(t, err)
		}
		g := groupsOf(t, s)["x"]
		if want := [store.TrendHours]int64{0: 1, 10: 1, 11: 2}; g.Trend != want || g.Count != 6 {
			t.Errorf("trend %v of %d, want %v", g.Trend, g.Count, want)
		}
		if !g.Last.Equal(hour) {
			t.Errorf("last seen %s, want %s", g.Last, hour)
		}
	})
}

func TestAResolvedGroupRegressesWithTheNextDeath(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"))
		mark := groupsOf(t, s)["x"].Fingerprint
		state, note := store.GroupResolved, "fixed in 1.2"
		ctx := store.Acting(t.Context(), store.Act{Actor: "ann@h"})
		was, is, err := s.ChangeGroup(ctx, mark, store.GroupChange{State: &state, Note: &note})
		if err != nil || was.State != store.GroupOpen || is.State != state || is.Note != note || is.Actor != "ann@h" {
			t.Fatalf("%+v, %+v, %v", was, is, err)
		}
		if g := groupsOf(t, s)["x"]; g.State != store.GroupResolved || g.Note != note || g.Count != 1 {
			t.Errorf("group %+v", g)
		}
		time.Sleep(2 * time.Millisecond) // the clock has milliseconds
		buryAll(t, s, failing("b", "x"))
		if g := groupsOf(t, s)["x"]; g.State != store.GroupRegressed {
			t.Errorf("a new death leaves it %s", g.State)
		}
		try(t, s.Maintain(t.Context(), time.Hour)) // keeps it, whatever becomes of the letter
		ls, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		_, err = s.RetryLetters(t.Context(), ls[0].Seq, ls[1].Seq)
		try(t, err)
		if g := groupsOf(t, s)["x"]; g.State != store.GroupRegressed || g.Count != 0 || !g.Last.IsZero() {
			t.Errorf("without letters it is %+v", g)
		}
		acts, err := s.Acts(t.Context(), store.ActFilter{Verb: store.VerbGroup, Subject: mark})
		if err != nil || len(acts) != 1 || acts[0].Actor != "ann@h" || acts[0].Was != "open" ||
			acts[0].Became != "resolved: fixed in 1.2" {
			t.Errorf("acts %+v, %v", acts, err)
		}
	})
}

// Who has retried all letters of a group may want to say that its fault is gone.
func TestAGroupWhoseLettersAreGoneIsStillListed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"))
		ls, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		_, err = s.RetryLetters(t.Context(), ls[0].Seq)
		try(t, err)
		if g := groupsOf(t, s)["x"]; g.State != store.GroupOpen || g.Count != 0 || g.First.IsZero() {
			t.Errorf("without letters it is %+v", g)
		}
	})
}

func TestWhatCannotBeSaidOfAGroupIsRefused(t *testing.T) {
	t.Parallel()
	s := places(t)["SQLite"].store(t, "")
	regressed, open, long := store.GroupRegressed, store.GroupOpen, strings.Repeat("x", store.MaxNote+1)
	for _, c := range []struct {
		change store.GroupChange
		want   error
	}{
		{store.GroupChange{State: &regressed}, driver.ErrInvalid}, {store.GroupChange{Note: &long}, driver.ErrTooLarge},
		{store.GroupChange{State: &open}, store.ErrNoGroup},
	} {
		if _, _, err := s.ChangeGroup(t.Context(), "none", c.change); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}

// Older versions know no fingerprints: their letters get them by themselves.
func TestLettersOfOlderVersionsGetTheirFingerprints(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		panicked := dead{id: "p", class: "panic", text: "boom 7"}
		buryAll(t, s, failing("a", "user 17 is gone"), failing("b", "user 18 is gone"), panicked)
		ls, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		for _, stmt := range []string{"update posthorn_letter set fingerprint = ''", "delete from posthorn_group"} {
			_, err := s.DB().ExecContext(t.Context(), stmt)
			try(t, err)
		}
		if gs, _, err := s.Groups(t.Context()); err != nil || len(gs) != 1 || gs[0].Fingerprint != "" || gs[0].Count != 3 {
			t.Errorf("before: %+v, %v", gs, err)
		}
		try(t, s.Maintain(t.Context(), time.Hour))
		again, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		for i := range ls {
			if again[i].Fingerprint != ls[i].Fingerprint {
				t.Errorf("%s has %s, and had %s", ls[i].ID, again[i].Fingerprint, ls[i].Fingerprint)
			}
		}
		if g := groupsOf(t, s)["user # is gone"]; g.Count != 2 || !g.First.Equal(ls[0].DiedAt) || g.FirstBuild != "b1" {
			t.Errorf("group %+v", g)
		}
		if n, err := s.MarkLetters(t.Context()); n != 0 || err != nil {
			t.Errorf("marked %d again, %v", n, err)
		}
	})
}

func TestAGroupThatIsForgottenIsKnownAgainByItsLetters(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x 1"), failing("b", "y"))
		_, err := s.DB().ExecContext(t.Context(), "delete from posthorn_group")
		try(t, err)
		g := groupsOf(t, s)["x #"]
		if g.Count != 1 || g.State != store.GroupOpen || g.Kind != "k" || g.ErrorType != "*pq.Error" {
			t.Errorf("group %+v", g)
		}
		state := store.GroupMuted
		if _, is, err := s.ChangeGroup(t.Context(), g.Fingerprint, store.GroupChange{State: &state}); err != nil ||
			is.State != state || is.Title != "x #" || is.FirstBuild != "b1" {
			t.Errorf("%+v, %v", is, err)
		}
	})
}

func TestGroupsWithLettersAreCountedByTheirState(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"), failing("b", "y"), failing("c", "z"))
		state := store.GroupMuted
		_, _, err := s.ChangeGroup(t.Context(), groupsOf(t, s)["x"].Fingerprint, store.GroupChange{State: &state})
		try(t, err)
		_, err = s.RetryLetters(t.Context(), groupsOf(t, s)["y"].Sample.Seq) // its group has none now
		try(t, err)
		got, err := s.GroupStates(t.Context())
		if want := map[store.GroupState]int64{state: 1, store.GroupOpen: 1}; err != nil || !maps.Equal(got, want) {
			t.Errorf("states %v, %v; want %v", got, err, want)
		}
		state = store.GroupResolved
		_, _, err = s.ChangeGroup(t.Context(), groupsOf(t, s)["z"].Fingerprint, store.GroupChange{State: &state})
		try(t, err)
		time.Sleep(2 * time.Millisecond) // the clock has milliseconds
		buryAll(t, s, failing("d", "z")) // this process knows the group, and does not write its row
		got, err = s.GroupStates(t.Context())
		if err != nil || got[store.GroupRegressed] != 1 || got[store.GroupResolved] != 0 {
			t.Errorf("states after a fault came back: %v, %v", got, err)
		}
	})
}

// What one says of a group does not undo what another says at the same moment.
func TestANoteAndAStateAtTheSameMomentAreBothKept(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"))
		mark := groupsOf(t, s)["x"].Fingerprint
		change := func(c store.GroupChange) {
			if _, _, err := s.ChangeGroup(t.Context(), mark, c); err != nil {
				t.Error(err)
			}
		}
		for i := range 10 {
			note, state := fmt.Sprint("note ", i), []store.GroupState{store.GroupMuted, store.GroupAcknowledged}[i%2]
			var both sync.WaitGroup
			both.Go(func() { change(store.GroupChange{Note: &note}) })
			change(store.GroupChange{State: &state})
			both.Wait()
			if g := groupsOf(t, s)["x"]; g.Note != note || g.State != state {
				t.Fatalf("round %d: note %q, state %s; want %q, %s", i, g.Note, g.State, note, state)
			}
		}
	})
}

func TestGroupsOfWhichNothingIsHeardAreForgotten(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buryAll(t, s, failing("a", "x"))
		state := store.GroupResolved
		_, _, err := s.ChangeGroup(t.Context(), groupsOf(t, s)["x"].Fingerprint, store.GroupChange{State: &state})
		try(t, err)
		try(t, s.Maintain(t.Context(), time.Hour))
		if n := len(groupsOf(t, s)); n != 1 {
			t.Errorf("%d groups within the retention", n)
		}
		try(t, s.Maintain(t.Context(), -time.Hour)) // the letter goes, and its group with it or by the next time
		try(t, s.Maintain(t.Context(), -time.Hour))
		if n := len(groupsOf(t, s)); n != 0 {
			t.Errorf("%d groups after it", n)
		}
	})
}

// Burials of the same faults by many at once wait for nobody, whatever their order.
func TestBurialsOfTheSameFaultsAtOnceAllSucceed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const workers, each = 6, 8
		ids := numbered(workers * each)
		for _, id := range ids {
			try(t, s.Send(t.Context(), message(id)))
		}
		var all sync.WaitGroup
		for range workers {
			all.Go(func() { buryEach(t, s, each) })
		}
		all.Wait()
		gs, _, err := s.Groups(t.Context())
		try(t, err)
		var n int64
		for _, g := range gs {
			n += g.Count
		}
		if n != workers*each || len(gs) != each {
			t.Errorf("%d letters in %d groups, want %d in %d", n, len(gs), workers*each, each)
		}
	})
}

// buryEach receives n messages, and buries each for another fault in one settlement.
func buryEach(t *testing.T, s *store.Store, n int) {
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for done := 0; done < n; {
		ds, err := c.Receive(ctx, n-done)
		if err != nil {
			t.Error(err)
			return
		}
		var ss []driver.Settlement
		for _, d := range ds {
			ss = append(ss, driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: "r", Attempt: &driver.Attempt{
				Class: driver.ClassFailure, Error: "fault " + string(rune('a'+done)),
			}})
			done++
		}
		slices.Reverse(ss)
		if err := c.Settle(ctx, ss...); err != nil {
			t.Error(err)
		}
	}
}
