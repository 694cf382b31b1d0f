package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/transport/memory"
	"github.com/posthorn/posthorn/worker"
)

// A reaper is a transport that keeps suspects apart.
type reaper interface {
	driver.Transport
	driver.Reaper
}

// accuse makes suspects of n jobs: their worker has died while it handled them.
func accuse(t *testing.T, s reaper, n int) []string {
	t.Helper()
	ids := sendJobs(t, s, n)
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"default"}, Lease: time.Minute, Worker: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ds, err := c.Receive(t.Context(), n)
	if err != nil || len(ds) != n {
		t.Fatalf("received %d of %d: %v", len(ds), n, err)
	}
	d := driver.Death{Worker: "dead", Cause: "signal: killed", Begun: []driver.Token{}}
	for _, one := range ds {
		d.Begun = append(d.Begun, one.Token)
	}
	if toll, err := s.ReleaseDead(t.Context(), d); err != nil || toll.Suspected != n {
		t.Fatalf("toll %+v, %v", toll, err)
	}
	return ids
}

func TestIsolatedWorkerHandlesSuspectsOneAtATimeAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	accused := accuse(t, s, 5)
	other := dispatch(t, s, job{How: "innocent"})
	var running, most, strangers atomic.Int64
	m := handle(func(_ context.Context, j job) error {
		now := running.Add(1)
		defer running.Add(-1)
		if now > most.Load() {
			most.Store(now)
		}
		if j.How == "innocent" {
			strangers.Add(1)
		}
		time.Sleep(5 * time.Millisecond) // long enough to meet a neighbour, if there were one
		return nil
	})
	r := start(t, s, m, worker.Options{Isolated: true, Concurrency: 8})
	r.until(len(accused), class(driver.ClassDone))
	r.end()
	if most.Load() != 1 || strangers.Load() != 0 {
		t.Errorf("%d at once, %d that are no suspects", most.Load(), strangers.Load())
	}
	uncounted(t, s, other)
}

// A slow transport takes its time to settle, and sees what is received meanwhile.
type slow struct {
	*memory.Transport
	held, most atomic.Int64
}

// Consume opens a consumer that is as slow.
func (s *slow) Consume(ctx context.Context, sub driver.Subscription) (driver.Consumer, error) {
	c, err := s.Transport.Consume(ctx, sub)
	return &slowConsumer{c, s}, err
}

// A slowConsumer is its consumer.
type slowConsumer struct {
	driver.Consumer
	slow *slow
}

func (c *slowConsumer) Receive(ctx context.Context, limit int) ([]driver.Delivery, error) {
	ds, err := c.Consumer.Receive(ctx, limit)
	c.slow.most.Store(max(c.slow.most.Load(), c.slow.held.Add(int64(len(ds)))))
	return ds, err
}

func (c *slowConsumer) Settle(ctx context.Context, ss ...driver.Settlement) error {
	time.Sleep(time.Second)
	defer c.slow.held.Add(-int64(len(ss)))
	return c.Consumer.Settle(ctx, ss...)
}

func TestIsolatedWorkerAsksForTheNextSuspectWhenTheLastIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &slow{Transport: memory.New(memory.Options{})}
		defer func() { _ = tr.Close() }()
		accused := accuse(t, tr.Transport, 3)
		r := start(t, tr, handle(func(context.Context, job) error { return nil }), worker.Options{Isolated: true})
		r.until(len(accused), class(driver.ClassDone))
		r.end()
		if n := tr.most.Load(); n != 1 {
			t.Errorf("it had %d suspects in hand", n)
		}
	})
}

func TestWhatReturnsInIsolationIsNoLongerSuspect(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := accuse(t, s, 1)[0]
	m := handle(func(context.Context, job) error { return errBoo })
	r := start(t, s, m, worker.Options{Isolated: true, Retry: quick(3)})
	r.until(1, class(driver.ClassFailure))
	r.end()
	p, err := s.Find(t.Context(), id)
	if err != nil || p == nil || p.Crashes != 0 || p.Attempt != 1 || p.Suspect {
		t.Errorf("after a failure of its own: %+v, %v", p, err)
	}
	plain := start(t, s, handle(func(context.Context, job) error { return nil }), worker.Options{})
	plain.until(1, class(driver.ClassDone))
}

func TestPlainWorkerTakesNoSuspects(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	accuse(t, s, 3)
	dispatch(t, s, job{})
	r := start(t, s, handle(func(context.Context, job) error { return nil }), worker.Options{Limits: worker.Limits{
		Idle: time.Second,
	}})
	r.wait()
	if n := len(r.seen(class(driver.ClassDone))); n != 1 || !errors.Is(r.StopCause(), worker.ErrLimit) {
		t.Errorf("%d messages were handled, and it ended because %v", n, r.StopCause())
	}
}

func TestIsolationNeedsATransportThatKeepsSuspectsApart(t *testing.T) {
	t.Parallel()
	tr := memory.New(memory.Options{NoSuspects: true})
	defer func() { _ = tr.Close() }()
	_, err := worker.New(tr, handle(func(context.Context, job) error { return nil }), worker.Options{Isolated: true})
	if !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("New returned %v", err)
	}
}

func TestIdleWorkerEndsInTimeAndABusyOneDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		m := handle(func(context.Context, job) error { time.Sleep(20 * time.Second); return nil })
		dispatch(t, tr, job{})
		began := time.Now() // virtual
		r := start(t, tr, m, worker.Options{Limits: worker.Limits{Idle: 5 * time.Second}})
		r.until(1, class(driver.ClassDone))
		r.wait()
		if d := time.Since(began); !errors.Is(r.StopCause(), worker.ErrLimit) || d < 24*time.Second {
			t.Errorf("ended after %s because %v", d, r.StopCause())
		}
	})
}
