package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// deaden makes dead letters of new messages, and returns them in the order of the ids.
func deaden(t *testing.T, s *store.Store, ids ...string) []store.Letter {
	t.Helper()
	var seqs []store.Letter
	for part := range slices.Chunk(ids, 10) {
		var es []driver.Envelope
		for _, id := range part {
			es = append(es, message(id))
		}
		try(t, s.Send(t.Context(), es...))
		c := consume(t, s)
		for n := 0; n < len(part); {
			for _, d := range receive(t, c) {
				try(t, c.Settle(t.Context(), driver.Settlement{
					Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected, Attempt: &driver.Attempt{
						Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassReject, Error: "no",
					},
				}))
				n++
			}
		}
	}
	seqs, err := s.Letters(t.Context(), store.LetterFilter{IDs: ids, Limit: len(ids)})
	try(t, err)
	slices.SortFunc(seqs, func(a, b store.Letter) int { return strings.Compare(a.ID, b.ID) })
	return seqs
}

// acts are what the filter chooses, in few words, the newest first.
func acts(t *testing.T, s *store.Store, f store.ActFilter) (out []string) {
	t.Helper()
	as, err := s.Acts(t.Context(), f)
	try(t, err)
	for _, a := range as {
		if a.At.IsZero() || a.Seq == 0 {
			t.Errorf("an act without a time or a place: %+v", a)
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(a.Verb, " ", a.Actor, " ", a.Subject, " ", a.Count)))
	}
	return out
}

func TestWhatOperatorsDoIsKeptWithWhoDidIt(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := store.Acting(t.Context(), store.Act{Actor: "ann@h"})
		ls := deaden(t, s, "a", "b", "c")
		_, err := s.RetryLetters(store.Acting(ctx, store.Act{Filter: "kind:k", Reason: "fixed"}), ls[0].Seq, ls[1].Seq)
		try(t, err)
		_, err = s.RetryLetters(ctx, ls[0].Seq) // it has gone: nothing is done
		try(t, err)
		_, err = s.RemoveLetters(t.Context(), ls[2].Seq)
		try(t, err)
		for _, end := range []time.Duration{0, time.Hour} {
			_, err = s.Pause(ctx, store.Pause{Queue: "q", Reason: "why", Actor: "bob", For: end})
			try(t, err)
		}
		_, err = s.Resume(ctx, "q")
		try(t, err)
		beat(t, s, "w1", "mail@a")
		_, err = s.OrderWorkers(ctx, store.WorkerFilter{Program: "mail"}, driver.OrderStop)
		try(t, err)
		for _, c := range []struct {
			filter store.ActFilter
			want   string
		}{
			{store.ActFilter{}, "workers.stop ann@h w1 1, queue.resume ann@h q 1, queue.pause bob q 1, queue.pause bob q 1, " +
				"remove  c 1, retry ann@h  2"},
			{store.ActFilter{Verb: "queue"}, "queue.resume ann@h q 1, queue.pause bob q 1, queue.pause bob q 1"},
			{store.ActFilter{Verb: "queue.pause", Limit: 1}, "queue.pause bob q 1"},
			{store.ActFilter{Message: "b"}, "retry ann@h  2"},
			{store.ActFilter{Subject: "c"}, "remove  c 1"},
			{store.ActFilter{Actor: "ANN@h"}, ""},
			{store.ActFilter{After: time.Now().Add(time.Hour)}, ""},
			{store.ActFilter{Before: time.Now().Add(-time.Hour)}, ""},
		} {
			if got := strings.Join(acts(t, s, c.filter), ", "); got != c.want {
				t.Errorf("%+v: %s, want %s", c.filter, got, c.want)
			}
		}
		retried, err := s.Acts(ctx, store.ActFilter{Verb: store.VerbRetry})
		try(t, err)
		if a := retried[0]; a.Filter != "kind:k" || a.Reason != "fixed" || strings.Join(a.Messages, " ") != "a b" {
			t.Errorf("retry: %+v", a)
		}
		paused, err := s.Acts(ctx, store.ActFilter{Verb: store.VerbPauseQueue, Limit: 1})
		try(t, err)
		if a := paused[0]; a.Was != "without end by bob: why" || !strings.HasPrefix(a.Became, "until 2") {
			t.Errorf("pause: %+v", a)
		}
	})
}

func TestActsArePagedFromTheNewest(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for i := range 5 {
			ctx := store.Acting(t.Context(), store.Act{Actor: fmt.Sprint("a", i)})
			_, err := s.Pause(ctx, store.Pause{Queue: "q", Reason: "r"})
			try(t, err)
		}
		var seen []string
		for past := int64(0); ; {
			page, err := s.Acts(t.Context(), store.ActFilter{Past: past, Limit: 2})
			try(t, err)
			for _, a := range page {
				seen, past = append(seen, a.Actor), a.Seq
			}
			if len(page) < 2 {
				break
			}
		}
		if got := strings.Join(seen, " "); got != "a4 a3 a2 a1 a0" {
			t.Errorf("pages: %s", got)
		}
	})
}

func TestNothingIsKeptOfAnActThatWasNotDone(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ls := deaden(t, s, "a", "b")
		try(t, s.Send(t.Context(), message("b")))
		if _, err := s.RetryLetters(t.Context(), ls[0].Seq, ls[1].Seq); err == nil {
			t.Error("a letter was retried whose id is live")
		}
		if got := acts(t, s, store.ActFilter{}); len(got) != 0 {
			t.Errorf("acts: %q", got)
		}
	})
}

func TestActsAreHeldToTheirBoundsAndRetention(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		long := strings.Repeat("ü", store.MaxActText) + "\x00\xff"
		ctx := store.Acting(t.Context(), store.Act{Actor: long, Filter: long, Reason: long})
		ls := deaden(t, s, "a")
		_, err := s.RemoveLetters(ctx, ls[0].Seq)
		try(t, err)
		as, err := s.Acts(ctx, store.ActFilter{})
		try(t, err)
		if a := as[0]; len(a.Actor) != store.MaxActor || len(a.Filter+a.Reason) != 2*store.MaxActText {
			t.Errorf("kept %d bytes of the actor, %d of the others", len(a.Actor), len(a.Filter+a.Reason))
		}
		age(t, s)
		_, err = s.Pause(context.WithoutCancel(ctx), store.Pause{Queue: "q", Reason: "r"})
		try(t, err)
		try(t, s.Maintain(ctx, time.Hour))
		var left int
		row := s.DB().QueryRowContext(ctx, "select count(*) from "+s.Names.Table("audited"))
		try(t, row.Scan(&left))
		if as, err = s.Acts(ctx, store.ActFilter{}); err != nil || len(as) != 1 || left != 0 {
			t.Errorf("%d acts and %d messages are left, %v, want one act", len(as), left, err)
		}
	})
}

// age makes all acts older than they are kept.
func age(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf("update %s set at_ms = at_ms - %d",
		s.Names.Table("audit"), store.AuditFor.Milliseconds()+1000))
	try(t, err)
}
