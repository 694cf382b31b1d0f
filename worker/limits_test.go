package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/memory"
	"github.com/posthorn/posthorn/worker"
)

func TestMessageLimitIsExactAndLeavesTheRestUntouched(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sendJobs(t, s, 200)
	n := 0
	m := handleTx(func(_ context.Context, _ *posthorn.Tx, j job) error {
		if j.N%7 == 0 {
			return errBoo // a failed attempt is a handled message
		}
		return nil
	}, noRetry())
	for total := 37; total <= 111; total += 37 {
		r := start(t, s, m, worker.Options{Limits: worker.Limits{Messages: 37}})
		r.wait()
		if r.err != nil || !strings.Contains(r.StopReason(), "37 messages") {
			t.Errorf("Run returned %v, reason %q", r.err, r.StopReason())
		}
		if n += len(r.seen(class(driver.ClassDone))) + len(r.seen(class(driver.ClassFailure))); n != total {
			t.Fatalf("%d messages were handled, want %d", n, total)
		}
		if left := count(t, s, "select count(*) from posthorn_message where state = 0"); left != 200-total {
			t.Errorf("%d messages are left ready, want %d", left, 200-total)
		}
	}
}

func TestFailureLimitStopsTheWorker(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sendJobs(t, s, 20)
	r := start(t, s, handle(func(context.Context, job) error { return errBoo }), worker.Options{
		Concurrency: 1, Prefetch: -1, Limits: worker.Limits{Failures: 3},
	})
	r.wait()
	n := len(r.seen(class(driver.ClassFailure)))
	if r.err != nil || !strings.Contains(r.StopReason(), "3 failures") || n < 3 || n > 4 {
		t.Errorf("Run returned %v, reason %q after %d failures", r.err, r.StopReason(), n)
	}
}

func TestMemoryLimitStopsTheWorker(t *testing.T) {
	t.Parallel()
	r := start(t, newStore(t), posthorn.NewMux(), worker.Options{Limits: worker.Limits{Memory: 1}})
	r.wait()
	if r.err != nil || !strings.Contains(r.StopReason(), "memory") {
		t.Errorf("Run returned %v, reason %q", r.err, r.StopReason())
	}
}

func TestResidentMemoryIsPlausible(t *testing.T) {
	if rss := worker.ResidentMemory(); rss < 1<<20 || rss > 1<<40 {
		t.Errorf("resident memory is %d bytes", rss)
	}
}

func TestTimeLimitStopsTheWorkerAndLetsHandlersFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		dispatch(t, tr, job{})
		began := time.Now()
		r := start(t, tr, handle(func(context.Context, job) error {
			time.Sleep(2 * time.Second) // virtual
			return nil
		}), worker.Options{Limits: worker.Limits{Time: time.Second}})
		r.wait()
		if r.err != nil || !strings.Contains(r.StopReason(), "time 1s") || len(r.seen(class(driver.ClassDone))) != 1 {
			t.Errorf("Run returned %v, reason %q", r.err, r.StopReason())
		}
		if ran := time.Since(began); ran != 2*time.Second {
			t.Errorf("the worker ran for %s, want 2s", ran)
		}
	})
}

func TestFirstMessageAfterALongQuietTimeKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		r := start(t, tr, handle(func(ctx context.Context, _ job) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(5 * time.Second):
				return nil
			}
		}), worker.Options{})
		time.Sleep(time.Hour + 100*time.Millisecond)
		dispatch(t, tr, job{})
		time.Sleep(time.Minute)
		r.end()
		if n := len(r.seen(class(driver.ClassDone))); n != 1 || len(r.seen(verdict(driver.Release))) != 0 {
			t.Errorf("events: %+v", r.seen(func(worker.Event) bool { return true }))
		}
	})
}

func TestHandlersOfEveryVerdictRunOnTheMemoryTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		for _, how := range []string{"done", "fail", "snooze", "reject", "panic"} {
			dispatch(t, tr, job{How: how})
		}
		r := start(t, tr, handle(func(ctx context.Context, j job) error {
			d, _ := posthorn.DeliveryFrom(ctx)
			switch {
			case j.How == "panic" && d.Attempt == 0:
				panic("first time")
			case j.How == "fail":
				return errBoo
			case j.How == "snooze" && d.Deliveries < 3:
				return posthorn.Snooze(time.Hour)
			case j.How == "reject":
				return posthorn.Reject(errBoo)
			}
			return nil
		}), worker.Options{})
		time.Sleep(24 * time.Hour)
		r.end()
		got := map[driver.Verdict]int{}
		for _, e := range r.seen(func(worker.Event) bool { return true }) {
			got[e.Verdict]++
		}
		if got[driver.Ack] != 3 || got[driver.Bury] != 2 || got[driver.Retry] != 3+1 || got[driver.Release] != 2 {
			t.Errorf("verdicts: %v", got)
		}
		if n := len(tr.Dead()); n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
	})
}

func TestNewRefusesWhatTheTransportCannotDo(t *testing.T) {
	tr := memory.New(memory.Options{})
	defer func() { _ = tr.Close() }()
	poor := memory.New(memory.Options{NoBury: true})
	defer func() { _ = poor.Close() }()
	effect := posthorn.NewMux()
	posthorn.HandleEffect(effect, func(context.Context, job) (posthorn.Effect, error) { return nil, nil })
	plain := handle(func(context.Context, job) error { return nil })
	tx := handleTx(func(context.Context, *posthorn.Tx, job) error { return nil })
	for name, err := range map[string]error{
		"HandleTx":     newErr(tr, tx, worker.Options{}),
		"HandleEffect": newErr(tr, effect, worker.Options{}),
		"no letters":   newErr(poor, plain, worker.Options{}),
	} {
		if !errors.Is(err, driver.ErrUnsupported) {
			t.Errorf("%s: error is %v, want ErrUnsupported", name, err)
		}
	}
	if err := newErr(tr, plain, worker.Options{}); err != nil {
		t.Error(err)
	}
}

func newErr(tr driver.Transport, m *posthorn.Mux, o worker.Options) error {
	_, err := worker.New(tr, m, o)
	return err
}

func TestNewRefusesOptionsThatMakeNoSense(t *testing.T) {
	tr := memory.New(memory.Options{})
	defer func() { _ = tr.Close() }()
	bad := posthorn.RetryPolicy{Multiplier: 0.5}
	for name, o := range map[string]worker.Options{
		"concurrency": {Concurrency: -1}, "lease": {Lease: time.Millisecond}, "renew": {Renew: 20 * time.Second},
		"negative renew": {Renew: -1}, "drain": {DrainTimeout: -1}, "retention": {Retention: -1},
		"heartbeat": {Heartbeat: -1}, "crashes": {MaxCrashes: -1}, "jitter": {Limits: worker.Limits{Jitter: 1}},
		"messages": {Limits: worker.Limits{Messages: -1}}, "failures": {Limits: worker.Limits{Failures: -1}},
		"time": {Limits: worker.Limits{Time: -1}}, "memory": {Limits: worker.Limits{Memory: -1}}, "retry": {Retry: bad},
		"queue retry": {QueueRetry: map[string]posthorn.RetryPolicy{"q": bad}},
		"queue name":  {QueueRetry: map[string]posthorn.RetryPolicy{"no queue": {}}},
		"queue":       {Queues: []string{"no queue"}},
	} {
		if newErr(tr, posthorn.NewMux(), o) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRunFailsOnAClosedTransport(t *testing.T) {
	tr := memory.New(memory.Options{})
	w, err := worker.New(tr, posthorn.NewMux(), worker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
}

func TestSlowAndPanickingObserverNeitherBlocksNorBreaksHandling(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sendJobs(t, s, 50)
	release, first := make(chan struct{}), make(chan struct{})
	var seen atomic.Int64
	w, err := worker.New(s, handle(func(context.Context, job) error { return nil }), worker.Options{
		Limits: worker.Limits{Messages: 50},
		Observe: func(worker.Event) {
			if seen.Add(1) == 1 {
				close(first)
				<-release
			}
			panic("observer")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	await(t, first, "the first event")
	for left := 1; left > 0; left = count(t, s, "select count(*) from posthorn_message") {
		time.Sleep(time.Millisecond)
	}
	close(release)
	await(t, done, "the end of the worker")
	if seen.Load() != 50 {
		t.Errorf("the observer saw %d events, want 50", seen.Load())
	}
}

func TestEventTellsWhatHappened(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{}, posthorn.WithQueue("q"))
	r := start(t, s, handle(func(context.Context, job) error { return errBoo }, noRetry()), worker.Options{
		Queues: []string{"other", "q"},
	})
	e := r.until(1, func(worker.Event) bool { return true })[0]
	if e.Worker != r.ID() || e.Delivery.ID != id || e.Delivery.Queue != "q" || e.Class != driver.ClassFailure ||
		e.Verdict != driver.Bury || e.Reason != driver.ReasonExhausted || !errors.Is(e.Err, errBoo) || e.Duration <= 0 {
		t.Errorf("event: %+v", e)
	}
	if p := place(t, s, id); p != store.PlaceDead {
		t.Errorf("the event came before the truth: the message is %q", p)
	}
}
