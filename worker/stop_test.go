package worker_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
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

// sendJobs sends n jobs in one commit.
func sendJobs(t *testing.T, tr driver.Transport, n int) []string {
	t.Helper()
	msgs := make([]posthorn.Message, n)
	for i := range msgs {
		msgs[i] = job{N: i}
	}
	ids, err := dispatcher(t, tr).DispatchMany(t.Context(), msgs)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// uncounted checks that messages wait as if nobody had touched them.
func uncounted(t *testing.T, s *store.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		p, err := s.Find(t.Context(), id)
		if err != nil || p == nil {
			t.Fatalf("message %s: %+v, %v", id, p, err)
		}
		history, err := s.Attempts(t.Context(), id)
		if p.Place != store.PlaceReady || p.Attempt != 0 || p.Crashes != 0 || len(history) != 0 || err != nil {
			t.Errorf("message %s: place %s, attempt %d, crashes %d, history %v, want it ready and uncounted",
				id, p.Place, p.Attempt, p.Crashes, history)
		}
	}
}

func TestStopFinishesWhatIsInHandAndGivesThePrefetchedBackAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	quickly := sendJobs(t, s, 1000) // so many and so fast that the worker claims ahead
	inside, goOn := make(chan struct{}), make(chan struct{})
	var n atomic.Int64
	r := start(t, s, handle(func(context.Context, job) error {
		if n.Add(1) == 500 {
			close(inside)
			<-goOn
		}
		return nil
	}), worker.Options{Concurrency: 1, Prefetch: 100})
	await(t, inside, "the handler in the middle")
	r.stop()
	close(goOn)
	r.wait()
	if r.err != nil || r.StopReason() != "asked to stop" {
		t.Errorf("Run returned %v, reason %q", r.err, r.StopReason())
	}
	left := count(t, s, "select count(*) from posthorn_message")
	if done := len(quickly) - left; int64(done) != n.Load() || left == 0 {
		t.Errorf("%d handlers ran, %d messages are done, %d are left", n.Load(), done, left)
	}
	ready := count(t, s, `select count(*) from posthorn_message where state = 0 and attempt = 0 and crashes = 0
		and token is null and not exists (select 1 from posthorn_attempt)`)
	if ready != left {
		t.Errorf("%d messages are left, only %d of them ready and uncounted", left, ready)
	}
	if ws, _, err := s.Workers(t.Context()); err != nil || len(ws) != 0 {
		t.Errorf("the registry still has %v, %v", ws, err)
	}
}

func TestHandlerThatOutlastsTheDrainTimeIsInterruptedAndUncounted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	inside := make(chan struct{})
	r := start(t, s, handle(func(ctx context.Context, _ job) error {
		close(inside)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), posthorn.ErrShutdown) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
		return ctx.Err()
	}, noRetry()), worker.Options{DrainTimeout: 20 * time.Millisecond})
	await(t, inside, "the handler")
	r.end()
	if n := len(r.seen(class(driver.ClassInterrupted))); n != 1 || r.err != nil {
		t.Errorf("%d messages were interrupted, want 1; error %v", n, r.err)
	}
	uncounted(t, s, id)
}

func TestAbortInterruptsHandlersNow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ids := []string{dispatch(t, s, job{}), dispatch(t, s, good{})}
	inside := make(chan struct{}, 2)
	wait := func(ctx context.Context) error {
		inside <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	m := handle(func(ctx context.Context, _ job) error { return wait(ctx) })
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, _ good) error {
		if _, err := tx.ExecContext(ctx, "insert into effect values ('x')"); err != nil {
			return err
		}
		return wait(ctx)
	})
	r := start(t, s, m, worker.Options{DrainTimeout: time.Hour})
	<-inside
	<-inside
	r.stop()
	r.Abort()
	r.wait()
	uncounted(t, s, ids...)
	if n := count(t, s, "select count(*) from effect"); n != 0 {
		t.Errorf("%d effects of an interrupted handler were kept", n)
	}
}

func TestAbortBeforeRunIsHarmless(t *testing.T) {
	w, err := worker.New(newStore(t), posthorn.NewMux(), worker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if reason := w.StopReason(); reason != "" {
		t.Errorf("reason %q", reason)
	}
}

// hesitant tells when a worker joins, and lets it join when it was told to stop.
type hesitant struct {
	*store.Store
	stop context.CancelFunc
}

func (h hesitant) Heartbeat(ctx context.Context, w driver.WorkerRecord) (driver.Orders, error) {
	h.stop()
	return h.Store.Heartbeat(ctx, w)
}

func TestAWorkerThatIsStoppedWhileItStartsEndsWell(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := worker.New(hesitant{s, cancel}, posthorn.NewMux(), worker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if w.StopReason() == "" {
		t.Error("no reason is given")
	}
	if ws, _, err := s.Workers(t.Context()); err != nil || len(ws) != 0 {
		t.Errorf("workers %v, %v, want none", ws, err)
	}
}

func TestHandlerThatIgnoresItsContextLosesItsMessageAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	inside, release, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := start(t, s, handle(func(context.Context, job) error {
		defer close(returned)
		close(inside)
		<-release
		return nil
	}), worker.Options{DrainTimeout: time.Millisecond})
	await(t, inside, "the handler")
	r.end()
	uncounted(t, s, id)
	close(release)
	await(t, returned, "the handler's return")
	uncounted(t, s, id)
}

func TestStopWorkersStopsEveryWorkerThatRunsAndNoLaterOne(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	one, two := openStore(t, dsn), openStore(t, dsn)
	m := handle(func(context.Context, job) error { return nil })
	o := worker.Options{Heartbeat: 10 * time.Millisecond, Program: "p", Version: "v"}
	a, b := start(t, one, m, o), start(t, two, m, o)
	dispatch(t, one, job{})
	dispatch(t, one, job{})
	for len(a.seen(class(driver.ClassDone)))+len(b.seen(class(driver.ClassDone))) < 2 {
		time.Sleep(time.Millisecond)
	}
	for ws := 0; ws < 2; {
		all, _, err := one.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ws = len(all)
	}
	if _, err := one.OrderWorkers(t.Context(), store.WorkerFilter{}, driver.OrderStop); err != nil {
		t.Fatal(err)
	}
	a.wait()
	b.wait()
	if a.StopReason() != "told to stop by stop-workers" || b.StopReason() != a.StopReason() {
		t.Errorf("reasons %q and %q", a.StopReason(), b.StopReason())
	}
	later := start(t, one, m, o)
	dispatch(t, one, job{})
	later.until(1, class(driver.ClassDone))
	if later.StopReason() != "" {
		t.Errorf("a later worker obeyed an old order: %s", later.StopReason())
	}
}

// Virtual time: no SQLite is involved.
func TestStuckHandlersAreAccountedAndAllStuckEndsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		release := make(chan struct{})
		m := handle(func(context.Context, job) error { <-release; return nil }, posthorn.WithTimeout(time.Second))
		sendJobs(t, tr, 3)
		r := start(t, tr, m, worker.Options{Concurrency: 2, DrainTimeout: time.Second})
		r.wait()
		if !errors.Is(r.err, worker.ErrStuck) || r.StopReason() != worker.ErrStuck.Error() {
			t.Errorf("Run returned %v, reason %q", r.err, r.StopReason())
		}
		if n := len(r.seen(stuck)); n != 2 {
			t.Errorf("%d handlers were called stuck, want 2", n)
		}
		close(release)
		synctest.Wait()
	})
}

func TestStuckHandlerThatReturnsAfterAllIsAnOrdinaryFailureOfItsMessageOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		m := handle(func(ctx context.Context, j job) error {
			if j.How != "stuck" {
				return nil
			}
			time.Sleep(20 * time.Second) // virtual
			return ctx.Err()
		}, posthorn.WithTimeout(time.Second), noRetry())
		r := start(t, tr, m, worker.Options{Concurrency: 2})
		for range 4 { // one after the other: the account must go back each time
			dispatch(t, tr, job{How: "stuck"})
			dispatch(t, tr, job{})
			time.Sleep(time.Minute)
		}
		r.end()
		got := [3]int{len(r.seen(stuck)), len(r.seen(class(driver.ClassTimeout))), len(r.seen(class(driver.ClassDone)))}
		if want := [3]int{4, 4, 4}; r.err != nil || got != want {
			t.Errorf("stuck, timed out, done: %v, want %v; error %v", got, want, r.err)
		}
	})
}

// It runs alone: the history tells where the effects of the process are.
func TestStuckEffectsLoseTheirTransactionAndEndTheWorkerWhenAllAre(t *testing.T) {
	s := newStore(t)
	release := make(chan struct{})
	ids := sendJobs(t, s, 2)
	r := start(t, s, handleTx(func(ctx context.Context, tx *posthorn.Tx, _ job) error {
		_, err := tx.ExecContext(ctx, "insert into effect values ('x')")
		<-release
		return err
	}, posthorn.WithTimeout(20*time.Millisecond)), worker.Options{Concurrency: 2, DrainTimeout: 10 * time.Millisecond})
	r.wait()
	close(release)
	if !errors.Is(r.err, worker.ErrStuck) || len(r.seen(stuck)) != 2 {
		t.Errorf("Run returned %v after %d stuck handlers", r.err, len(r.seen(stuck)))
	}
	if n := count(t, s, "select count(*) from effect"); n != 0 {
		t.Errorf("%d effects of stuck handlers were kept", n)
	}
	for _, id := range ids { // or they would come back for ever, and end a worker each time
		foundStuck(t, s, id)
	}
}

// foundStuck checks that a handler that did not return has cost its message an
// attempt, and that the history says where it was.
func foundStuck(t *testing.T, s *store.Store, id string) {
	t.Helper()
	as, err := s.Attempts(t.Context(), id)
	if err != nil || len(as) != 1 || as[0].Class != driver.ClassTimeout {
		t.Fatalf("history of %s: %+v, error %v", id, as, err)
	}
	if !strings.Contains(as[0].Stack, "worker_test.TestStuck") {
		t.Errorf("the history does not say where the handler was: %q", as[0].Stack)
	}
}

// An errand is a message whose handler takes its time, and may.
type errand struct{}

// Kind names it.
func (errand) Kind() string { return "errand" }

func TestStuckHandlerEndsItsWorkerAndIsFoundAndItsNeighboursPayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New(memory.Options{})
		defer func() { _ = tr.Close() }()
		release := make(chan struct{})
		m := handle(func(context.Context, job) error { <-release; return nil }, posthorn.WithTimeout(time.Second), noRetry())
		posthorn.Handle(m, func(ctx context.Context, _ errand) error { <-ctx.Done(); return ctx.Err() },
			posthorn.WithTimeout(24*time.Hour))
		id := dispatch(t, tr, job{})
		dispatch(t, tr, errand{})
		r := start(t, tr, m, worker.Options{Concurrency: 4, DrainTimeout: time.Second, StuckLimit: 10 * time.Second})
		r.wait()
		close(release)
		if !errors.Is(r.err, worker.ErrStuck) {
			t.Errorf("Run returned %v", r.err)
		}
		dead, live := tr.Dead(), tr.Live()
		if len(dead) != 1 || dead[0].Envelope.ID != id || len(dead[0].Attempts) != 1 {
			t.Fatalf("dead letters: %+v", dead)
		}
		a := dead[0].Attempts[0]
		if a.Class != driver.ClassTimeout || !strings.Contains(a.Stack, "worker_test.TestStuckHandlerEnds") {
			t.Errorf("class %s, found at %q", a.Class, a.Stack)
		}
		if len(live) != 1 || live[0].Kind != "errand" || live[0].Attempt != 0 {
			t.Errorf("the neighbour: %+v", live)
		}
		synctest.Wait()
	})
}

// noted is a recorder that remembers what it was told.
type noted struct {
	mu      sync.Mutex
	log     []string
	running map[int]string
}

// Enter notes a message that begins.
func (n *noted) Enter(d driver.Delivery) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	slot := len(n.log)
	n.log = append(n.log, "enter "+d.ID)
	n.running[slot] = d.ID
	return slot
}

// Leave notes its end.
func (n *noted) Leave(slot int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, "leave "+n.running[slot])
	delete(n.running, slot)
}

func (n *noted) holds(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(slices.Collect(maps.Values(n.running)), id)
}

func TestRecorderKnowsWhatRunsAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	rec := &noted{running: map[int]string{}}
	check := func(ctx context.Context) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		if !rec.holds(d.ID) {
			t.Errorf("%s runs and is not noted", d.ID)
		}
		return nil
	}
	m := posthorn.NewMux()
	posthorn.HandleEffect(m, func(ctx context.Context, _ job) (posthorn.Effect, error) {
		return func(ctx context.Context, _ *posthorn.Tx) error { return check(ctx) }, check(ctx)
	})
	posthorn.Handle(m, func(ctx context.Context, _ errand) error {
		_ = check(ctx)
		panic("out of luck")
	}, noRetry())
	one, two := dispatch(t, s, job{}), dispatch(t, s, errand{})
	r := start(t, s, m, worker.Options{Concurrency: 1, Recorder: rec})
	r.until(1, class(driver.ClassDone))
	r.until(1, class(driver.ClassPanic))
	r.end()
	got := map[string]int{}
	for _, line := range rec.log {
		got[line]++
	}
	want := map[string]int{"enter " + one: 2, "leave " + one: 2, "enter " + two: 1, "leave " + two: 1}
	if !maps.Equal(got, want) || len(rec.running) != 0 {
		t.Errorf("noted %v, want %v; still running %v", got, want, rec.running)
	}
}
