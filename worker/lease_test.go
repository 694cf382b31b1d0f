package worker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// shortLease is for tests that want leases to run out.
const shortLease = 300 * time.Millisecond

func TestLeaseIsRenewedForAsLongAsAHandlerRuns(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	one, two := openStore(t, dsn), openStore(t, dsn)
	id := dispatch(t, one, job{})
	var runs atomic.Int64
	m := posthorn.NewMux()
	posthorn.HandleEffect(m, func(context.Context, job) (posthorn.Effect, error) {
		runs.Add(1)
		time.Sleep(5 * shortLease) // the passing of time is what is tested
		return insertEffect(id), nil
	})
	o := worker.Options{Lease: shortLease, Renew: shortLease / 6}
	a, b := start(t, one, m, o), start(t, two, m, o)
	for len(a.seen(class(driver.ClassDone)))+len(b.seen(class(driver.ClassDone))) == 0 {
		time.Sleep(time.Millisecond)
	}
	if n := count(t, one, "select count(*) from effect"); n != 1 || runs.Load() != 1 {
		t.Errorf("%d runs and %d effects, want 1 of each", runs.Load(), n)
	}
}

// insertEffect is an effect that leaves a trace.
func insertEffect(id string) posthorn.Effect {
	return func(ctx context.Context, tx *posthorn.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into effect values (?)", id)
		return err
	}
}

func TestLostLeaseEndsTheHandlersContextAndItsEffectIsRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	inside := make(chan struct{})
	var runs atomic.Int64
	m := posthorn.NewMux()
	posthorn.HandleEffect(m, func(ctx context.Context, _ job) (posthorn.Effect, error) {
		if runs.Add(1) == 1 {
			close(inside)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), driver.ErrLeaseLost) {
				t.Errorf("cause is %v", context.Cause(ctx))
			}
		}
		return insertEffect(id), nil // a zombie does not know better
	})
	r := start(t, s, m, worker.Options{Lease: shortLease, Renew: shortLease / 6})
	await(t, inside, "the handler")
	if toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: r.ID()}); toll.Released != 1 || err != nil { // as if
		t.Fatal(toll, err)
	}
	r.until(1, class(driver.ClassLeaseLost))
	r.until(1, class(driver.ClassDone))
	if n := count(t, s, "select count(*) from effect"); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

// A deaf transport's consumers cannot renew leases.
type deaf struct{ *store.Store }

// Consume opens one.
func (d deaf) Consume(ctx context.Context, s driver.Subscription) (driver.Consumer, error) {
	c, err := d.Store.Consume(ctx, s)
	return deafConsumer{c}, err
}

// A deafConsumer finds its transport away when it renews.
type deafConsumer struct{ driver.Consumer }

// Extend fails.
func (deafConsumer) Extend(context.Context, ...driver.Delivery) error { return driver.ErrUnavailable }

func TestMessageIsNotLostWhenItsLeaseCannotBeRenewed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	var runs atomic.Int64
	r := start(t, deaf{s}, handle(func(ctx context.Context, _ job) error {
		if runs.Add(1) == 1 {
			<-ctx.Done() // the lease is over here, and not yet in the store
			return ctx.Err()
		}
		return nil
	}), worker.Options{Lease: time.Second, Renew: 50 * time.Millisecond})
	if e := r.until(1, class(driver.ClassLeaseLost))[0]; e.Delivery.ID != id || e.Verdict == driver.Ack {
		t.Errorf("event: %+v", e)
	}
	r.until(1, class(driver.ClassDone))
	if runs.Load() != 2 {
		t.Errorf("%d runs, want 2", runs.Load())
	}
}

func TestTwoWorkersOnOneFileHandleEachMessageOnce(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	one, two := openStore(t, dsn), openStore(t, dsn)
	const n = 300
	ids := sendJobs(t, one, n)
	var mu sync.Mutex
	runs := map[string]int{}
	m := handleTx(func(ctx context.Context, tx *posthorn.Tx, _ job) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		mu.Lock()
		runs[d.ID]++
		mu.Unlock()
		return insertEffect(d.ID)(ctx, tx)
	})
	a, b := start(t, one, m, worker.Options{Prefetch: 10}), start(t, two, m, worker.Options{Prefetch: 10})
	for count(t, one, "select count(*) from posthorn_message") > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	a.end()
	b.end()
	for _, id := range ids {
		if runs[id] < 1 {
			t.Errorf("message %s ran %d times", id, runs[id])
		}
	}
	all, distinct := count(t, one, "select count(*) from effect"), count(t, two, "select count(distinct id) from effect")
	if all != n || distinct != n {
		t.Errorf("%d effects of %d messages, want %d of each", all, distinct, n)
	}
	if k := len(a.seen(class(driver.ClassDone))) + len(b.seen(class(driver.ClassDone))); k != n {
		t.Errorf("%d messages were reported done, want %d", k, n)
	}
}

// crash claims all that is there and dies without a word, as the named worker.
func crash(t *testing.T, s *store.Store, n int) {
	t.Helper()
	c, ds := claim(t, s, n)
	if len(ds) != n {
		t.Fatalf("claimed %d messages, want %d", len(ds), n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "test"}); err != nil || toll.Released != n {
		t.Fatalf("released %+v, %v", toll, err)
	}
}

func TestMessageWhoseWorkersDiedTooOftenIsBuriedUnrunWithTheEvidence(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	for range 3 {
		crash(t, s, 1)
	}
	r := start(t, s, handle(func(context.Context, job) error { t.Error("it ran"); return nil }), worker.Options{
		MaxCrashes: 3,
	})
	r.until(1, verdict(driver.Bury))
	l := letter(t, s, id)
	if l.Reason != driver.ReasonCrashed || l.Crashes != 3 || l.Class != driver.ClassCrash || l.Attempt != 0 {
		t.Errorf("letter: %+v", l)
	}
	if len(l.Attempts) != 4 {
		t.Fatalf("history: %+v", l.Attempts)
	}
	for _, a := range l.Attempts[:3] {
		if a.Class != driver.ClassCrash || a.Worker != "test" {
			t.Errorf("attempt: %+v", a)
		}
	}
}

func TestReleaseDeadGivesBackWhatADeadWorkerHeldAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ids := sendJobs(t, s, 2)
	c, ds := claim(t, s, 1)
	defer func() { _ = c.Close() }()
	if n, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "somebody else"}); n.Released != 0 || err != nil {
		t.Errorf("released %+v, %v, want none", n, err)
	}
	if n, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "test"}); n.Released != 1 || err != nil {
		t.Errorf("released %+v, %v, want 1", n, err)
	}
	p, err := s.Find(t.Context(), ids[0])
	if err != nil || p.Place != store.PlaceReady || p.Crashes != 1 || p.Attempt != 0 {
		t.Errorf("position: %+v, %v", p, err)
	}
	if err := c.Settle(t.Context(), driver.Settlement{Delivery: ds[0]}); !errors.Is(err, driver.ErrLeaseLost) {
		t.Errorf("the dead worker's settlement: %v, want ErrLeaseLost", err)
	}
}
