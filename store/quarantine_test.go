package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// as is a consumer of queue k for a worker with this id.
func as(t *testing.T, s *store.Store, worker string, suspects bool) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{
		Queues: []string{"k"}, Lease: time.Minute, Worker: worker, Suspects: suspects,
	})
	try(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// die lets a worker die while it handles some deliveries.
func die(t *testing.T, s *store.Store, worker string, ds ...driver.Delivery) driver.Toll {
	t.Helper()
	d := driver.Death{
		Worker: worker, Begun: []driver.Token{}, Cause: "signal: killed",
		Evidence: "last\x00 words " + strings.Repeat("x", driver.MaxAttemptStack), Alone: len(ds) == 1,
	}
	for _, one := range ds {
		d.Begun = append(d.Begun, one.Token)
	}
	toll, err := s.ReleaseDead(t.Context(), d)
	try(t, err)
	return toll
}

// accuse makes suspects of new messages.
func accuse(t *testing.T, s *store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		e := message(id)
		e.Queue = "k"
		try(t, s.Send(t.Context(), e))
	}
	ds := receive(t, as(t, s, "accused", false))
	if toll := die(t, s, "accused", ds...); toll.Suspected != len(ids) {
		t.Fatalf("toll is %+v, want %d suspects", toll, len(ids))
	}
}

// place says where a message is, with its crashes.
func where(t *testing.T, s *store.Store, id string) string {
	t.Helper()
	p, err := s.Find(t.Context(), id)
	if try(t, err); p == nil {
		return "nowhere"
	}
	return fmt.Sprint(p.Place, " ", p.Crashes, " ", p.Suspect)
}

// letAge makes suspects that wait as old as the patience with them.
func letAge(t *testing.T, s *store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := s.DB().ExecContext(t.Context(), "update "+s.Names.Table("message")+
			" set wake_at = wake_at - 61000 where state = 3 and id = '"+id+"'")
		try(t, err)
	}
}

// quarantine walks the statements for the dead and for suspects.
func quarantine(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	toll, err := s.ReleaseDead(ctx, driver.Death{Worker: "w"})
	if try(t, err); toll.Released != 3 {
		t.Errorf("toll is %+v, want 3 released", toll)
	}
	accuse(t, s, "killer")
	c := as(t, s, "alone", true)
	try(t, c.Settle(ctx, driver.Settlement{Delivery: receive(t, c)[0], Verdict: driver.Release}))
	for range driver.SuspectDeaths - 1 {
		toll = die(t, s, "alone", receive(t, c)...)
	}
	letters, err := s.Letters(ctx, store.LetterFilter{IDs: []string{"killer"}})
	try(t, err)
	if toll.Buried != 1 || len(letters) != 1 {
		t.Fatalf("toll is %+v, letters %+v", toll, letters)
	}
	_, err = s.RemoveLetters(ctx, letters[0].Seq)
	try(t, err)
	accuse(t, s, "aged")
	n, err := s.Suspects(ctx, []string{"other", "k"})
	if try(t, err); n != 1 {
		t.Errorf("%d suspects, want 1", n)
	}
	letAge(t, s, "aged")
	keeper := as(t, s, "keeper", true)
	try(t, keeper.Settle(ctx, driver.Settlement{Delivery: receive(t, keeper)[0], Verdict: driver.Release}))
	letAge(t, s, "aged")
	free := as(t, s, "free", false)
	try(t, free.Settle(ctx, driver.Settlement{Delivery: receive(t, free)[0]}))
}

func TestWhatKillsAloneIsBuriedWithTheEvidenceAndCanBeRetriedAfresh(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, c := t.Context(), as(t, s, "alone", true)
		accuse(t, s, "killer", "other")
		for toll := (driver.Toll{}); toll.Buried == 0; {
			d := receive(t, c)[0]
			if d.ID == "other" {
				try(t, c.Settle(ctx, driver.Settlement{Delivery: d}))
				continue
			}
			toll = die(t, s, "alone", d)
		}
		p, err := s.Find(ctx, "killer")
		try(t, err)
		l := p.Letter
		if l == nil || l.Reason != driver.ReasonCrashed || l.Class != driver.ClassCrash || l.Error != "signal: killed" ||
			l.Crashes != driver.SuspectDeaths || l.Attempt != 0 || string(l.Body) != "b" {
			t.Fatalf("letter: %+v", l)
		}
		for _, a := range l.Attempts {
			if a.Class != driver.ClassCrash || a.Error != "signal: killed" || !strings.HasPrefix(a.Stack, "last\uFFFD words") ||
				len(a.Stack) > driver.MaxAttemptStack || a.Duration < 0 || a.Started.IsZero() {
				t.Errorf("attempt: %+v", a)
			}
		}
		if len(l.Attempts) != driver.SuspectDeaths || l.Attempts[0].Worker != "accused" || l.Attempts[1].Worker != "alone" {
			t.Errorf("history: %d attempts", len(l.Attempts))
		}
		_, err = s.RetryLetters(ctx, l.Seq)
		if try(t, err); where(t, s, "killer") != "ready 0 false" {
			t.Errorf("it was retried, and is %s", where(t, s, "killer"))
		}
	})
}

func TestStatsAndFindTellOfSuspects(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		accuse(t, s, "a", "b")
		c := as(t, s, "alone", true)
		d := receive(t, c)[0]
		stats, err := s.Stats(ctx)
		try(t, err)
		if q := stats[0]; q.Suspects != 1 || q.InFlight != 1 || q.Ready != 0 {
			t.Errorf("stats: %+v", q)
		}
		other := map[string]string{"a": "b", "b": "a"}[d.ID]
		if got := where(t, s, d.ID) + ", " + where(t, s, other); got != "in flight 1 true, suspect 1 true" {
			t.Errorf("they are %s", got)
		}
		for want, queues := range map[int64][]string{0: {"other"}, 1: {"k", "other"}} {
			if n, err := s.Suspects(ctx, queues); n != want || err != nil {
				t.Errorf("%d suspects in %v, %v, want %d", n, queues, err, want)
			}
		}
		if n, err := s.Suspects(ctx, nil); n != 0 || err != nil {
			t.Errorf("%d suspects in no queue, %v", n, err)
		}
	})
}

func TestASuspectWhomNobodyRunsIsReadyAgainAndToBeHandledAlone(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		accuse(t, s, "young", "old")
		letAge(t, s, "old")
		c := as(t, s, "any", false)
		ds := receive(t, c)
		if len(ds) != 1 || ds[0].ID != "old" || ds[0].Crashes != 2 {
			t.Errorf("received %+v, want the old one with 2 crashes", ds)
		}
		if got := where(t, s, "young"); got != "suspect 1 true" {
			t.Errorf("the young one is %s", got)
		}
		toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "any"})
		if try(t, err); toll != (driver.Toll{Released: 1}) || where(t, s, "old") != "ready 3 false" {
			t.Errorf("toll %+v, the old one is %s", toll, where(t, s, "old"))
		}
	})
}

func TestWhoRunsSuspectsLetsTheOthersOfItsQueuesWait(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		accuse(t, s, "one", "two")
		letAge(t, s, "one", "two")
		receive(t, as(t, s, "alone", true))
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if ds, err := as(t, s, "any", false).Receive(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("received %v, %v", ids(ds), err)
		}
	})
}

// What had not begun when a worker died stands before the marks of the others.
func TestWhatTheDeadGiveBackIsFoundByThoseWhoClaimAhead(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n = 300
		var es []driver.Envelope
		for i := range n {
			e := message(fmt.Sprint("m", i))
			e.Queue = "k"
			es = append(es, e)
		}
		try(t, s.Send(t.Context(), es...))
		dead, heir := as(t, s, "dead", false), as(t, s, "heir", false)
		var held, seen []string
		for range 10 {
			held = append(held, ids(receive(t, dead))...)
			seen = append(seen, ids(receive(t, heir))...)
		}
		if toll := die(t, s, "dead"); toll != (driver.Toll{Released: len(held)}) {
			t.Errorf("toll is %+v, want %d released", toll, len(held))
		}
		for len(seen) < n {
			seen = append(seen, ids(receive(t, heir))...)
		}
		slices.Sort(seen)
		if got := len(slices.Compact(seen)); got != n {
			t.Errorf("%d of %d messages were received", got, n)
		}
	})
}
