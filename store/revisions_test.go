package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// buried sends messages and buries them, each with an attempt.
func buried(t *testing.T, s *store.Store, names ...string) {
	t.Helper()
	c := consume(t, s)
	for _, id := range names {
		try(t, s.Send(t.Context(), message(id)))
		d := receive(t, c)[0]
		try(t, c.Settle(t.Context(), driver.Settlement{
			Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected,
			Attempt: &driver.Attempt{Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassReject, Error: "no"},
		}))
	}
	try(t, c.Close())
}

// letterOf reads a dead letter, or else a removed one.
func letterOf(t *testing.T, s *store.Store, id string) *store.Letter {
	t.Helper()
	p, err := s.Find(t.Context(), id)
	try(t, err)
	if p == nil || p.Letter == nil {
		t.Fatalf("%s is %+v, want a letter", id, p)
	}
	return p.Letter
}

func TestAnEditKeepsWhatTheLetterWas(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := store.Acting(t.Context(), store.Act{Actor: "ann"})
		buried(t, s, "m")
		l := letterOf(t, s, "m")
		head := map[string]string{"k": "v"}
		try(t, s.EditLetter(ctx, store.Edit{Seq: l.Seq, Header: head, Body: []byte("two\x00\xff")}))
		if err := s.EditLetter(ctx, store.Edit{Seq: l.Seq, Body: []byte("stale")}); !errors.Is(err, store.ErrChanged) {
			t.Errorf("an edit of what was edited: %v", err)
		}
		l = letterOf(t, s, "m")
		if l.Revision != 1 || string(l.Body) != "two\x00\xff" || l.Header["k"] != "v" {
			t.Errorf("letter %+v", l)
		}
		huge := store.Edit{Seq: l.Seq, Revision: 1, Body: make([]byte, driver.MaxBody+1)}
		if err := s.EditLetter(ctx, huge); !errors.Is(err, driver.ErrTooLarge) {
			t.Errorf("too large a body: %v", err)
		}
		try(t, s.EditLetter(ctx, store.Edit{Seq: l.Seq, Revision: 1, Retry: true}))
		p, err := s.Find(ctx, "m")
		if try(t, err); p.Place != store.PlaceReady || len(p.Body)+len(p.Header) != 0 {
			t.Errorf("after the retry %+v", p)
		}
		vs, err := s.Revisions(ctx, "m")
		try(t, err)
		if len(vs) != 2 || string(vs[0].Body) != "b" || vs[0].Actor != "ann" || vs[1].Header["k"] != "v" ||
			string(vs[1].Body) != "two\x00\xff" || vs[1].Number != 2 {
			t.Errorf("revisions %+v", vs)
		}
		acts, err := s.Acts(ctx, store.ActFilter{Message: "m"})
		if try(t, err); len(acts) != 3 || acts[0].Verb != store.VerbRetry || acts[1].Verb != store.VerbEdit ||
			acts[1].Actor != "ann" || acts[1].Was != "edited 1 times" {
			t.Errorf("acts %+v", acts)
		}
	})
}

func TestAVersionIsRetriedUnlessSomebodyWasFaster(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buried(t, s, "m", "gone")
		l := letterOf(t, s, "m")
		try(t, s.EditLetter(t.Context(), store.Edit{Seq: l.Seq, Body: []byte("two")}))
		if err := s.RetryVersion(t.Context(), l.Seq, 0); !errors.Is(err, store.ErrChanged) {
			t.Errorf("a retry of what was edited: %v", err)
		}
		try(t, s.RetryVersion(t.Context(), l.Seq, 1))
		p, err := s.Find(t.Context(), "m")
		if try(t, err); p.Place != store.PlaceReady || string(p.Body) != "two" {
			t.Errorf("it is %+v", p)
		}
		if rs, err := s.Revisions(t.Context(), "m"); err != nil || len(rs) != 1 {
			t.Errorf("it has %d revisions, %v", len(rs), err)
		}
		l = letterOf(t, s, "gone")
		if n, err := s.RemoveLetters(t.Context(), l.Seq); n != 1 || err != nil {
			t.Errorf("removed %d, %v", n, err)
		}
		if err := s.RetryVersion(t.Context(), l.Seq, 0); !errors.Is(err, store.ErrChanged) {
			t.Errorf("a retry of what was removed: %v", err)
		}
	})
}

func TestRevisionsAreGoneWhenTheMessageAndTheRetentionAre(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buried(t, s, "m")
		l := letterOf(t, s, "m")
		try(t, s.EditLetter(ctx, store.Edit{Seq: l.Seq, Body: []byte("two"), Retry: true}))
		c := consume(t, s)
		d := receive(t, c)[0]
		if string(d.Body) != "two" {
			t.Errorf("what runs is %q", d.Body)
		}
		try(t, s.Maintain(ctx, -time.Hour)) // all is past its retention, but it lives
		if vs, err := s.Revisions(ctx, "m"); len(vs) != 1 || err != nil {
			t.Errorf("of a live message: %v, %v", vs, err)
		}
		try(t, c.Settle(ctx, driver.Settlement{Delivery: d}))
		try(t, s.Maintain(ctx, time.Hour))
		if vs, err := s.Revisions(ctx, "m"); len(vs) != 1 || err != nil {
			t.Errorf("within the retention: %v, %v", vs, err)
		}
		try(t, s.Maintain(ctx, -time.Hour))
		if vs, err := s.Revisions(ctx, "m"); len(vs) != 0 || err != nil {
			t.Errorf("after the retention: %v, %v", vs, err)
		}
	})
}

// A race is what several operators do to one version of a letter at once.
type race struct {
	name string
	do   func(ctx context.Context, s *store.Store, l *store.Letter) (bool, error)
}

// edits is an operator who edits.
func edits(body string, retry bool) race {
	return race{body, func(ctx context.Context, s *store.Store, l *store.Letter) (bool, error) {
		err := s.EditLetter(ctx, store.Edit{Seq: l.Seq, Revision: l.Revision, Body: []byte(body), Retry: retry})
		if errors.Is(err, store.ErrChanged) {
			return false, nil
		}
		return err == nil, err
	}}
}

// retries is one who retries.
func retries(name string) race {
	return race{name, func(ctx context.Context, s *store.Store, l *store.Letter) (bool, error) {
		n, err := s.RetryLetters(ctx, l.Seq)
		if errors.Is(err, driver.ErrDuplicate) {
			return false, nil
		}
		return n > 0, err
	}}
}

// Whatever several operators do to one version at once, one version can run: an edit
// that was told to be done is in what runs.
func TestExactlyOneVersionRunsWhoeverIsFaster(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for round := range 12 {
			oneRound(t, s, fmt.Sprint("m", round), round%2 == 0)
		}
	})
}

// oneRound lets operators race for one letter, and runs what has come of it.
func oneRound(t *testing.T, s *store.Store, id string, retry bool) {
	t.Helper()
	buried(t, s, id)
	l := letterOf(t, s, id)
	won := compete(t, s, l, edits("one", false), edits("two", retry), retries("r1"), retries("r2"))
	want, edited := "b", 0
	for _, body := range []string{"one", "two"} {
		if won[body] {
			want = body
			edited++
		}
	}
	if edited > 1 {
		t.Fatalf("both edits of one version are done: %v", won)
	}
	_, _ = s.RetryLetters(t.Context(), l.Seq) // if nobody has
	c := consume(t, s)
	ds := receive(t, c)
	if len(ds) != 1 || string(ds[0].Body) != want {
		t.Fatalf("done are %v, and %d messages run, with %q", won, len(ds), ds[0].Body)
	}
	try(t, c.Settle(t.Context(), driver.Settlement{Delivery: ds[0]}))
	try(t, c.Close())
	vs, err := s.Revisions(t.Context(), id)
	if try(t, err); len(vs) != edited {
		t.Errorf("done are %v, and the revisions %+v", won, vs)
	}
}

// compete runs all at once, and says who was told to be done.
func compete(t *testing.T, s *store.Store, l *store.Letter, all ...race) map[string]bool {
	t.Helper()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		won  = map[string]bool{}
		gate = make(chan struct{})
	)
	for _, r := range all {
		wg.Go(func() {
			<-gate
			done, err := r.do(t.Context(), s, l)
			if err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			won[r.name] = done
		})
	}
	close(gate)
	wg.Wait()
	return won
}

func TestARemovedLetterIsRestoredUnlessItsIdIsTaken(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buried(t, s, "m", "other")
		l, other := letterOf(t, s, "m"), letterOf(t, s, "other")
		remove := func(seqs ...int64) {
			t.Helper()
			n, err := s.RemoveLetters(ctx, seqs...)
			if try(t, err); n != len(seqs) {
				t.Errorf("removed %d", n)
			}
		}
		restore := func(want int, is error) {
			t.Helper()
			if n, err := s.RestoreLetters(ctx, l.Seq, other.Seq); n != want || !errors.Is(err, is) {
				t.Errorf("restored %d, %v, want %d, %v", n, err, want, is)
			}
		}
		restore(0, nil) // they are not removed
		remove(l.Seq, other.Seq)
		restore(2, nil)
		remove(l.Seq, other.Seq)
		try(t, s.Send(ctx, message("m")))
		restore(0, driver.ErrDuplicate) // it lives
		c := consume(t, s)
		d := receive(t, c)[0]
		try(t, c.Settle(ctx, driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: "again"}))
		restore(0, driver.ErrDuplicate) // it has died again
		n, err := s.PurgeLetters(ctx, letterOf(t, s, "m").Seq)
		if try(t, err); n != 1 {
			t.Errorf("purged %d", n)
		}
		restore(2, nil)
		if a, err := s.Attempts(ctx, "m"); len(a) != 1 || err != nil { // the other letter of this id has it
			t.Errorf("history %v, %v", a, err)
		}
	})
}

// Who removes a letter while somebody else is asked whether to retry it does not want it to
// be handled.
func TestARemovedLetterIsNotRetried(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		buried(t, s, "m", "n")
		removed, other := letterOf(t, s, "m"), letterOf(t, s, "n")
		if n, err := s.RemoveLetters(t.Context(), removed.Seq); n != 1 || err != nil {
			t.Errorf("removed %d, %v", n, err)
		}
		if n, err := s.RetryLetters(t.Context(), removed.Seq, other.Seq); n != 1 || err != nil {
			t.Errorf("of one that was removed, and one that was not, %d are retried, %v", n, err)
		}
		if p, err := s.Find(t.Context(), "m"); err != nil || p.Place != store.PlaceRemoved {
			t.Errorf("what was removed is %+v, %v", p, err)
		}
	})
}

func TestAPurgedLetterLeavesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		buried(t, s, "m", "removed")
		l, gone := letterOf(t, s, "m"), letterOf(t, s, "removed")
		try(t, s.EditLetter(ctx, store.Edit{Seq: l.Seq, Body: []byte("two")}))
		_, err := s.RemoveLetters(ctx, gone.Seq)
		try(t, err)
		n, err := s.PurgeLetters(ctx, l.Seq, gone.Seq, gone.Seq+1000)
		if try(t, err); n != 2 {
			t.Errorf("purged %d", n)
		}
		for _, table := range []string{"letter", "revision", "attempt", "message"} {
			var rows int
			err := s.DB().QueryRowContext(ctx, "select count(*) from posthorn_"+table).Scan(&rows)
			if try(t, err); rows != 0 {
				t.Errorf("%d rows are left in %s", rows, table)
			}
		}
		acts, err := s.Acts(ctx, store.ActFilter{Verb: store.VerbPurge})
		if try(t, err); len(acts) != 1 || acts[0].Count != 2 {
			t.Errorf("acts %+v", acts)
		}
	})
}
