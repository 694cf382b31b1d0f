package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// handle makes a mux with one handler for jobs.
func handle(fn func(context.Context, job) error, opts ...posthorn.HandlerOption) *posthorn.Mux {
	m := posthorn.NewMux()
	posthorn.Handle(m, fn, opts...)
	return m
}

// handleTx makes a mux with one transactional handler for jobs.
func handleTx(fn func(context.Context, *posthorn.Tx, job) error, opts ...posthorn.HandlerOption) *posthorn.Mux {
	m := posthorn.NewMux()
	posthorn.HandleTx(m, fn, opts...)
	return m
}

func TestRetryIsADurableDelayedMessageThatAnotherWorkerMayTake(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	one, two := openStore(t, dsn), openStore(t, dsn)
	id := dispatch(t, one, job{})
	failing := start(t, one, handle(func(context.Context, job) error { return errBoo }), worker.Options{
		Retry: posthorn.RetryPolicy{Delay: 50 * time.Millisecond}, Limits: worker.Limits{Messages: 1},
	})
	failing.wait()
	if p := place(t, one, id); p != store.PlaceDelayed && p != store.PlaceReady {
		t.Errorf("after the failed attempt the message is %q, want it waiting in the store", p)
	}
	var attempt atomic.Int64
	other := start(t, two, handle(func(ctx context.Context, _ job) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		attempt.Store(int64(d.Attempt))
		return nil
	}), worker.Options{})
	other.until(1, class(driver.ClassDone))
	if attempt.Load() != 1 {
		t.Errorf("the second worker saw attempt %d, want 1", attempt.Load())
	}
	if left, err := two.Attempts(t.Context(), id); err != nil || len(left) != 0 {
		t.Errorf("history of a done message: %v, %v", left, err)
	}
}

func TestExhaustedMessageIsADeadLetterWithItsWholeHistory(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{N: 7}, posthorn.WithHeader("who", "me"), posthorn.WithPriority(3))
	var n atomic.Int64
	r := start(t, s, handle(func(context.Context, job) error {
		if n.Add(1) == 2 {
			panic("second time")
		}
		return fmt.Errorf("try %d: %w", n.Load(), errBoo)
	}), worker.Options{Retry: quick(2)})
	r.until(1, verdict(driver.Bury))
	l := letter(t, s, id)
	const body = `{"n":7,"how":"","secret":"` + witness.Secret + `"}`
	if l.Reason != driver.ReasonExhausted || l.Class != driver.ClassFailure || string(l.Body) != body ||
		l.Header["who"] != "me" || l.Priority != 3 || l.Error != "try 3: boo" {
		t.Errorf("letter: %+v", l)
	}
	if len(l.Attempts) != 3 {
		t.Fatalf("%d attempts, want 3: %+v", len(l.Attempts), l.Attempts)
	}
	for i, want := range []driver.Class{driver.ClassFailure, driver.ClassPanic, driver.ClassFailure} {
		a := l.Attempts[i]
		if a.Class != want || a.Number != i+1 || a.Worker != r.ID() || a.Started.IsZero() || a.Error == "" {
			t.Errorf("attempt %d: %+v", i+1, a)
		}
	}
	if stack := l.Attempts[1].Stack; !strings.Contains(stack, "retry_test.go") {
		t.Errorf("the panic's stack does not show the handler:\n%s", stack)
	}
}

// An invalid job does not validate when it says so.
type invalid struct{ Bad bool }

// Kind names it.
func (invalid) Kind() string { return "invalid" }

// Validate refuses a bad one.
func (i invalid) Validate() error {
	if i.Bad {
		return errBoo
	}
	return nil
}

func TestMessageIsBuriedForTheReasonThatAppliesAndNoneRunsTwice(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	d := dispatcher(t, s)
	m := handle(func(_ context.Context, j job) error {
		if j.How == "reject" {
			return fmt.Errorf("wrapped: %w", posthorn.Reject(errBoo))
		}
		return nil
	})
	posthorn.Handle(m, func(context.Context, invalid) error { t.Error("an invalid message was handled"); return nil })
	raw := []byte("{\"n\": \xff\x00 oh")
	want := map[string]string{}
	send := func(kind string, body []byte, reason string) {
		id, err := d.DispatchRaw(t.Context(), kind, body)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = reason
	}
	for range 5 {
		send("job", []byte(`{"n":1}`), "")
		send("job", raw, driver.ReasonUndecodable)
		send("invalid", []byte(`{"Bad":true}`), driver.ReasonInvalid)
		send("job", []byte(`{"how":"reject"}`), driver.ReasonRejected)
		send("job", nil, driver.ReasonUndecodable)
	}
	r := start(t, s, m, worker.Options{Retry: quick(3)})
	events := r.until(len(want), func(worker.Event) bool { return true })
	if len(events) != len(want) {
		t.Errorf("%d events for %d messages: something ran twice", len(events), len(want))
	}
	for id, reason := range want {
		if reason == "" {
			if p := place(t, s, id); p != "" {
				t.Errorf("a good neighbour is %s", p)
			}
			continue
		}
		l := letter(t, s, id)
		if l.Reason != reason || len(l.Attempts) != 1 {
			t.Errorf("reason %q with %d attempts, want %q with 1", l.Reason, len(l.Attempts), reason)
		}
		if reason == driver.ReasonUndecodable && len(l.Body) > 0 && string(l.Body) != string(raw) {
			t.Errorf("raw bytes are %q, want %q", l.Body, raw)
		}
	}
}

func TestUnknownKindIsGivenBackAndSpendsNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, invalid{})
	r := start(t, s, handle(func(context.Context, job) error { return nil }), worker.Options{})
	e := r.until(1, class(driver.ClassUnknownKind))[0]
	if e.Verdict != driver.Release || e.Delay <= 0 {
		t.Errorf("event: %+v", e)
	}
	r.end()
	p, err := s.Find(t.Context(), id)
	if err != nil || p == nil || p.Attempt != 0 || p.Crashes != 0 || p.Letter != nil {
		t.Fatalf("position: %+v, %v", p, err)
	}
	m := posthorn.NewMux()
	posthorn.Handle(m, func(context.Context, invalid) error { return nil })
	start(t, s, m, worker.Options{}).until(1, class(driver.ClassDone))
}

func TestTimeoutIsAClassOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	short := posthorn.WithTimeout(20 * time.Millisecond)
	m := handle(func(ctx context.Context, _ job) error {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), posthorn.ErrTimeout) {
			t.Errorf("cause is %v", context.Cause(ctx))
		}
		return ctx.Err()
	}, short, noRetry())
	posthorn.HandleTx(m, func(ctx context.Context, tx *posthorn.Tx, _ good) error {
		return tx.QueryRowContext(ctx, endless).Scan(new(int))
	}, short, noRetry())
	posthorn.HandleTx(m, func(_ context.Context, tx *posthorn.Tx, _ evilTx) error {
		_, err := tx.QueryContext(context.Background(), endless)
		return err
	}, short, noRetry())
	for _, id := range []string{dispatch(t, s, job{}), dispatch(t, s, good{}), dispatch(t, s, evilTx{})} {
		defer func() {
			if l := letter(t, s, id); l.Class != driver.ClassTimeout || l.Reason != driver.ReasonExhausted {
				t.Errorf("%s: class %s, reason %s: %s", l.Kind, l.Class, l.Reason, l.Error)
			}
		}()
	}
	start(t, s, m, worker.Options{}).until(3, verdict(driver.Bury))
}

func TestSnoozeCostsNoAttemptAndRollsBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	var runs, attempts atomic.Int64
	r := start(t, s, handleTx(func(ctx context.Context, tx *posthorn.Tx, _ job) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		attempts.Add(int64(d.Attempt))
		if _, err := tx.ExecContext(ctx, "insert into effect values (?)", d.ID); err != nil {
			return err
		}
		if runs.Add(1) <= 5 {
			return posthorn.Snooze(time.Millisecond)
		}
		return nil
	}, noRetry()), worker.Options{})
	r.until(1, class(driver.ClassDone))
	if n := len(r.seen(class(driver.ClassSnooze))); n != 5 || attempts.Load() != 0 {
		t.Errorf("%d snoozes, attempts add up to %d, want 5 and 0", n, attempts.Load())
	}
	if n := count(t, s, "select count(*) from effect where id = ?", id); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

func TestRetryAfterIsTheDelayAndCounts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := dispatch(t, s, job{})
	r := start(t, s, handle(func(context.Context, job) error {
		return posthorn.RetryAfter(time.Hour, errBoo)
	}), worker.Options{})
	if e := r.until(1, verdict(driver.Retry))[0]; e.Delay != time.Hour {
		t.Errorf("delay %s, want 1h", e.Delay)
	}
	p, err := s.Find(t.Context(), id)
	if err != nil || p.Place != store.PlaceDelayed || p.Attempt != 1 {
		t.Errorf("position: %+v, %v", p, err)
	}
}

// A grumpy error names its class.
type grumpy struct{}

// Error is its text.
func (grumpy) Error() string { return "grumpy" }

// ErrorClass is its class.
func (grumpy) ErrorClass() string { return "mood" }

func TestPolicyIsTheHandlersElseTheQueuesElseTheWorkers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	delays := func(d time.Duration) posthorn.RetryPolicy { return posthorn.RetryPolicy{Delay: d, Jitter: -1} }
	byClass := delays(time.Minute)
	byClass.Classes = map[driver.Class]posthorn.RetryPolicy{"mood": delays(4 * time.Minute)}
	m := handle(func(_ context.Context, j job) error {
		if j.How == "grumpy" {
			return fmt.Errorf("wrapped: %w", grumpy{})
		}
		return errBoo
	})
	posthorn.Handle(m, func(context.Context, good) error { return errBoo }, posthorn.WithRetry(delays(3*time.Minute)))
	want := map[string]time.Duration{
		dispatch(t, s, job{}):                              time.Minute,
		dispatch(t, s, job{How: "grumpy"}):                 4 * time.Minute,
		dispatch(t, s, job{}, posthorn.WithQueue("slow")):  2 * time.Minute,
		dispatch(t, s, good{}, posthorn.WithQueue("slow")): 3 * time.Minute,
	}
	r := start(t, s, m, worker.Options{
		Queues: []string{"default", "slow"}, Retry: byClass,
		QueueRetry: map[string]posthorn.RetryPolicy{"slow": delays(2 * time.Minute)},
	})
	for _, e := range r.until(len(want), verdict(driver.Retry)) {
		if e.Delay != want[e.Delivery.ID] {
			t.Errorf("%s on %s: delay %s, want %s", e.Delivery.Kind, e.Delivery.Queue, e.Delay, want[e.Delivery.ID])
		}
	}
}

// A busy error is one that the store knows as its own fault.
func TestInfrastructureFaultInAnEffectCostsNoAttempt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	hog := openStore(t, newPath(t))
	var n atomic.Int64
	id := dispatch(t, s, job{})
	r := start(t, s, handleTx(func(ctx context.Context, tx *posthorn.Tx, _ job) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		switch n.Add(1) {
		case 1:
			return fmt.Errorf("look elsewhere: %w", busy(t, hog))
		case 2:
			return fmt.Errorf("call the service: %w", driver.ErrUnavailable)
		}
		_, err := tx.ExecContext(ctx, "insert into effect values (?)", d.ID)
		return err
	}, noRetry()), worker.Options{})
	done := r.until(1, class(driver.ClassDone))[0]
	if done.Delivery.Attempt != 0 {
		t.Errorf("attempt %d, want 0", done.Delivery.Attempt)
	}
	if k := len(r.seen(class(driver.ClassTransient))); k != 2 {
		t.Errorf("%d infrastructure faults were reported, want 2", k)
	}
	if k := count(t, s, "select count(*) from effect where id = ?", id); k != 1 {
		t.Errorf("%d effects, want 1", k)
	}
}

// busy provokes a real SQLITE_BUSY.
func busy(t *testing.T, s *store.Store) error {
	ctx := context.Background()
	one, err := s.DB().Conn(ctx)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer func() { _ = one.Close() }()
	two, err := s.DB().Conn(ctx)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer func() { _ = two.Close() }()
	_, err1 := one.ExecContext(ctx, "begin immediate")
	_, err2 := two.ExecContext(ctx, "pragma busy_timeout = 0")
	_, err = two.ExecContext(ctx, "begin immediate")
	_, err3 := one.ExecContext(ctx, "rollback")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Error(err)
	}
	return err
}

func TestEffectThatFindsSomethingAwayMakesNobodyElseWait(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	dispatch(t, s, job{How: "away"})
	var away atomic.Int64
	r := start(t, s, handleTx(func(_ context.Context, _ *posthorn.Tx, j job) error {
		if j.How == "away" {
			away.Add(1)
			return driver.ErrUnavailable
		}
		return nil
	}), worker.Options{})
	r.until(1, class(driver.ClassTransient))
	for range 20 {
		dispatch(t, s, job{})
	}
	r.until(20, class(driver.ClassDone))
	if away.Load() > 8 {
		t.Errorf("the effect ran %d times while 20 neighbours ran: it does not wait", away.Load())
	}
}
