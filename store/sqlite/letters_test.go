package sqlite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// bury makes dead letters of n messages, the odd ones rejected.
func bury(t *testing.T, s *store.Store, c driver.Consumer, n int) []store.Letter {
	t.Helper()
	send(t, s, n)
	for i, d := range receive(t, c, n) {
		reason := []string{driver.ReasonExhausted, driver.ReasonRejected}[i%2]
		err := c.Settle(t.Context(), driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: reason,
			Attempt: &driver.Attempt{
				Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassFailure, Error: "e" + d.ID,
			}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return letters(t, s, store.LetterFilter{})
}

func letters(t *testing.T, s *store.Store, f store.LetterFilter) []store.Letter {
	t.Helper()
	ls, err := s.Letters(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

func TestLettersAreFilteredAndPaged(t *testing.T) {
	s := open(t, newPath(t))
	ls := bury(t, s, consume(t, s), 6)
	for name, c := range map[string]struct {
		filter store.LetterFilter
		want   string
	}{
		"all":         {store.LetterFilter{}, "m0 m1 m2 m3 m4 m5"},
		"reason":      {store.LetterFilter{Reason: driver.ReasonRejected}, "m1 m3 m5"},
		"ids":         {store.LetterFilter{IDs: []string{"m4", "m2", "no"}}, "m2 m4"},
		"first page":  {store.LetterFilter{Limit: 2}, "m0 m1"},
		"second page": {store.LetterFilter{Limit: 2, Past: ls[1].Seq}, "m2 m3"},
		"kind":        {store.LetterFilter{Kind: "K"}, ""},
		"queue":       {store.LetterFilter{Queue: "q", Kind: "k", Class: "failure"}, "m0 m1 m2 m3 m4 m5"},
		"before":      {store.LetterFilter{Before: ls[0].DiedAt.Add(-time.Hour)}, ""},
		"after":       {store.LetterFilter{After: ls[0].DiedAt.Add(-time.Hour)}, "m0 m1 m2 m3 m4 m5"},
		"discarded":   {store.LetterFilter{Discarded: true}, ""},
	} {
		var got []string
		for _, l := range letters(t, s, c.filter) {
			got = append(got, l.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	if l := ls[3]; string(l.Body) != "body of m3" || l.Error != "em3" || l.Deliveries != 1 || l.DiedAt.IsZero() {
		t.Errorf("letter: %+v", l)
	}
}

func TestRetriedLetterGoesBackToItsQueueWithItsHistoryAndAFreshCount(t *testing.T) {
	s := open(t, newPath(t))
	c := consume(t, s)
	ls := bury(t, s, c, 3)
	if n, err := s.RetryLetters(t.Context(), ls[0].Seq, ls[2].Seq, 999); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	ds := receive(t, c, 10)
	if len(ds) != 2 || ds[0].ID != "m0" || ds[0].Attempt != 0 || string(ds[1].Body) != "body of m2" {
		t.Errorf("received %+v", ds)
	}
	if h, err := s.Attempts(t.Context(), "m0"); err != nil || len(h) != 1 {
		t.Errorf("history %+v, %v", h, err)
	}
	if left := letters(t, s, store.LetterFilter{}); len(left) != 1 || left[0].ID != "m1" {
		t.Errorf("left: %+v", left)
	}
}

func TestLetterWhoseIDIsLiveIsNotRetriedNorIsAnyOther(t *testing.T) {
	s := open(t, newPath(t))
	ls := bury(t, s, consume(t, s), 2)
	if err := s.Send(t.Context(), envelope("m1")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.RetryLetters(t.Context(), ls[0].Seq, ls[1].Seq); n != 0 || !errors.Is(err, driver.ErrDuplicate) {
		t.Errorf("%d, %v, want ErrDuplicate", n, err)
	}
	if left := letters(t, s, store.LetterFilter{}); len(left) != 2 {
		t.Errorf("%d letters are left, want 2", len(left))
	}
}

func TestRemovedLetterIsListedAsDiscardedUntilItsRetentionIsOver(t *testing.T) {
	s := open(t, newPath(t))
	ls := bury(t, s, consume(t, s), 2)
	for want := 1; want >= 0; want-- { // the second time there is nothing to remove
		if n, err := s.RemoveLetters(t.Context(), ls[0].Seq); n != want || err != nil {
			t.Fatal(n, err)
		}
	}
	gone := letters(t, s, store.LetterFilter{Discarded: true})
	if len(gone) != 1 || gone[0].ID != "m0" || gone[0].Discarded.IsZero() {
		t.Errorf("discarded: %+v", gone)
	}
	for id, want := range map[string]store.Place{"m0": store.PlaceRemoved, "m1": store.PlaceDead} {
		if p, err := s.Find(t.Context(), id); err != nil || p.Place != want || len(p.Letter.Attempts) != 1 {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
	if err := s.Maintain(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "select count(*) from posthorn_letter"); n != 2 {
		t.Errorf("%d letters are left within the retention, want 2", n)
	}
	if err := s.Maintain(t.Context(), -time.Hour); err != nil {
		t.Fatal(err)
	}
	n := count(t, s, "select (select count(*) from posthorn_letter) + (select count(*) from posthorn_attempt)")
	if n != 0 {
		t.Errorf("%d rows are left after the retention", n)
	}
}

func TestHistoryIsBoundedAndStorable(t *testing.T) {
	s := open(t, newPath(t))
	c := consume(t, s)
	send(t, s, 1)
	for i := range driver.MaxAttempts + 5 {
		d := receive(t, c, 1)[0]
		err := c.Settle(t.Context(), driver.Settlement{Delivery: d, Verdict: driver.Retry, Attempt: &driver.Attempt{
			Number: i + 1, Started: time.Now(), Duration: 1500 * time.Microsecond, Class: driver.ClassPanic,
			Error: "\x00\xff" + strings.Repeat("ä", driver.MaxAttemptError),
			Stack: strings.Repeat("s", driver.MaxAttemptStack+1),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	h, err := s.Attempts(t.Context(), "m0")
	if err != nil || len(h) != driver.MaxAttempts || h[0].Number != 6 || h[len(h)-1].Number != driver.MaxAttempts+5 {
		t.Fatalf("%d attempts, %v", len(h), err)
	}
	a := h[0]
	if len(a.Error) > driver.MaxAttemptError+8 || len(a.Stack) != driver.MaxAttemptStack ||
		a.Duration != 1500*time.Microsecond || !strings.HasPrefix(a.Error, "\uFFFD\uFFFDä") {
		t.Errorf("attempt: %d and %d bytes, %s, %q", len(a.Error), len(a.Stack), a.Duration, a.Error[:20])
	}
}

func TestStatsAndFindTellWhereMessagesAre(t *testing.T) {
	s := open(t, newPath(t))
	c := consume(t, s)
	bury(t, s, c, 1)
	later := envelope("later")
	later.Delay = time.Hour
	urgent := envelope("urgent")
	urgent.Priority = 5
	if err := s.Send(t.Context(), urgent, envelope("a"), envelope("b"), later); err != nil {
		t.Fatal(err)
	}
	if ds := receive(t, c, 1); ds[0].ID != "urgent" {
		t.Fatalf("received %s first", ds[0].ID)
	}
	stats, err := s.Stats(t.Context())
	if err != nil || len(stats) != 1 {
		t.Fatal(stats, err)
	}
	st := stats[0]
	if st.Queue != "q" || st.Ready != 2 || st.Delayed != 1 || st.InFlight != 1 || st.Dead != 1 || st.NextDue <= 0 {
		t.Errorf("stats: %+v", st)
	}
	var got []string
	for _, id := range []string{"urgent", "a", "b", "later", "m0"} {
		p, err := s.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.Place, " ", p.Ahead))
	}
	if want := "[in flight 0 ready 0 ready 1 delayed 0 dead 0]"; fmt.Sprint(got) != want {
		t.Errorf("places %v, want %s", got, want)
	}
	if p, err := s.Find(t.Context(), "never was"); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestMessageOfAnotherProcessWakesAConsumer(t *testing.T) {
	path := newPath(t)
	one, two := open(t, path), open(t, path)
	c := consume(t, one)
	got := make(chan []driver.Delivery, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ds, err := c.Receive(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		got <- ds
	}()
	send(t, two, 1)
	select {
	case ds := <-got:
		if len(ds) != 1 || ds[0].ID != "m0" {
			t.Errorf("received %+v", ds)
		}
	case <-time.After(patience):
		t.Error("never woken")
	}
	<-done
}
