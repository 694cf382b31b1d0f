package sqlite_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// bound is how long an effect may keep others waiting in these tests.
const bound = 20 * time.Millisecond

// slowStore opens a store with messages of these kinds, m0, m1 …, and claims them.
func slowStore(t *testing.T, kinds ...string) (*store.Store, []driver.Delivery) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), "sqlite:"+newPath(t), store.Options{SlowEffect: bound, GroupBudget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	exec(t, s, `create table effect (id text)`)
	return s, claimKinds(t, s, kinds...)
}

// claimKinds sends a message of each kind, and claims them.
func claimKinds(t *testing.T, s *store.Store, kinds ...string) []driver.Delivery {
	t.Helper()
	first := count(t, s, "select count(*) from effect")
	for i, kind := range kinds {
		e := envelope("m" + string(rune('a'+first+i)))
		e.Kind = kind
		if err := s.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	ds := receive(t, consume(t, s), len(kinds))
	if len(ds) != len(kinds) {
		t.Fatalf("received %d of %d", len(ds), len(kinds))
	}
	return ds
}

// done makes sure that each message has one effect and is gone.
func done(t *testing.T, s *store.Store, ds []driver.Delivery, errs []error) {
	t.Helper()
	for i, d := range ds {
		if errs[i] != nil {
			t.Errorf("%s: %v", d.ID, errs[i])
		}
		settled(t, s, map[string]bool{d.ID: true})
	}
}

// slow is an effect that takes as long as it may beside others, and has the time it
// needs when it is alone. Then its neighbours must have been committed.
type slow struct {
	t          *testing.T
	s          *store.Store
	neighbours []driver.Delivery
	runs       int
	cut        int
}

func (e *slow) effect(ctx context.Context, _ driver.Tx) error {
	e.runs++
	wait := time.NewTimer(5 * bound)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		e.cut++
		return nil // as if nothing had happened
	case <-wait.C:
	}
	for _, d := range e.neighbours {
		settled(e.t, e.s, map[string]bool{d.ID: true})
	}
	return nil
}

func TestASlowEffectRunsAgainAloneWhenItsNeighboursAreCommitted(t *testing.T) {
	s, ds := slowStore(t, "quick", "slow", "quick", "quick")
	e := &slow{t: t, s: s, neighbours: []driver.Delivery{ds[0], ds[2], ds[3]}}
	errs := s.Transact(t.Context(), []driver.Unit{
		unit(t, ds[0], nil), unit(t, ds[1], e.effect), unit(t, ds[2], nil), unit(t, ds[3], nil),
	})
	done(t, s, ds, errs)
	if e.runs != 2 || e.cut != 1 {
		t.Errorf("the slow effect ran %d times and was cut off %d times, want 2 and 1", e.runs, e.cut)
	}

	ds = claimKinds(t, s, "slow", "quick", "quick") // it is known now
	e = &slow{t: t, s: s, neighbours: ds[1:]}
	errs = s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], e.effect), unit(t, ds[1], nil), unit(t, ds[2], nil)})
	done(t, s, ds, errs)
	if e.runs != 1 || e.cut != 0 {
		t.Errorf("known as slow, it ran %d times and was cut off %d times, want 1 and 0", e.runs, e.cut)
	}
}

func TestASlowEffectOfALonelyMessageIsLeftAlone(t *testing.T) {
	s, ds := slowStore(t, "slow")
	e := &slow{t: t, s: s}
	done(t, s, ds, s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], e.effect)}))
	if e.runs != 1 || e.cut != 0 {
		t.Errorf("it ran %d times and was cut off %d times, want 1 and 0", e.runs, e.cut)
	}
}

func TestASlowEffectThatDoesNotComeBackIsStuckAndNotRunTwice(t *testing.T) {
	s, ds := slowStore(t, "quick", "slow")
	release := make(chan struct{})
	var runs atomic.Int32
	deaf := unit(t, ds[1], func(context.Context, driver.Tx) error { runs.Add(1); <-release; return nil })
	deaf.Timeout = 2 * bound
	errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], nil), deaf})
	done(t, s, ds[:1], errs[:1])
	stuck, ok := errs[1].(*driver.StuckError) //nolint:errorlint // nothing wraps it
	if !ok || runs.Load() != 1 {
		t.Fatalf("returned %v after %d runs, want it stuck after one", errs[1], runs.Load())
	}
	close(release)
	<-stuck.Done
	settled(t, s, map[string]bool{ds[1].ID: false})
}
