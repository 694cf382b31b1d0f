package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// stuckGrace is how long after its deadline a handler is called stuck.
const stuckGrace = 5 * time.Second

// errGoexit: the handler ended its goroutine instead of returning.
var errGoexit = errors.New("handler called runtime.Goexit")

// process is the life of a message in a worker's slot: run the slow part of
// its handler, then hand it on to be committed with its effect, or decide.
func (w *Worker) process(it *item) {
	if err := w.admit(it); err != nil {
		w.finish(it, err)
		return
	}
	effect, err := w.start(it)
	if err != nil || effect == nil {
		w.finish(it, err)
		return
	}
	it.effect = effect
	w.units.put(it)
}

// finish decides what becomes of a message whose handler ended with err, and
// hands the verdict on to be settled. Somebody else may have ended it already.
func (w *Worker) finish(it *item, err error) {
	if it.leave() {
		w.finishAs(it, err)
	}
}

// finishAs is finish for who has the right to end the item.
func (w *Worker) finishAs(it *item, err error) {
	it.err = w.explain(it, err)
	it.outcome = w.decide(it)
	it.settlement = driver.Settlement{
		Delivery: it.d, Verdict: it.outcome.Verdict, Delay: it.outcome.Delay, Reason: it.outcome.Reason,
		Attempt: w.attempt(it),
	}
	w.ended.put(it)
}

// admit refuses a message without a handler, and one that has killed its
// worker too often.
func (w *Worker) admit(it *item) error {
	if it.d.Crashes >= w.opts.MaxCrashes {
		return errCrashed
	}
	h, known := w.mux.Handler(it.d.Kind)
	if !known {
		return fmt.Errorf("%w: %s", posthorn.ErrUnknownKind, it.d.Kind)
	}
	it.handler = h
	return context.Cause(it.ctx)
}

// start runs the slow part under the handler's deadline.
func (w *Worker) start(it *item) (effect posthorn.Effect, err error) {
	ctx, cancel := context.WithTimeoutCause(it.ctx, it.handler.Timeout(), driver.ErrTimeout)
	defer cancel()
	it.begun = time.Now()
	it.deadline.Store(w.clock() + int64(it.handler.Timeout()+stuckGrace))
	returned := false
	defer func() {
		it.deadline.Store(0)
		it.ran = time.Since(it.begun)
		if !returned { // by Goexit: this goroutine is ending
			w.finish(it, errGoexit)
		}
	}()
	effect, err = it.handler.Start(ctx, it.d)
	returned = true
	return effect, withCause(ctx, err)
}

// withCause adds to the error of a handler why its context ended.
func withCause(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// explain marks faults of the infrastructure, which cost no attempt.
func (w *Worker) explain(it *item, err error) error {
	if err == nil || w.roles.Classifier == nil || errors.Is(err, errCrashed) {
		return err
	}
	if w.roles.Classifier.Classify(err) == driver.ClassTransient {
		return &posthorn.InfrastructureError{Err: err}
	}
	return err
}

// decide asks the policy of the handler, else of the queue, else the worker's.
func (w *Worker) decide(it *item) posthorn.Outcome {
	if errors.Is(it.err, errCrashed) {
		return posthorn.Outcome{Verdict: driver.Bury, Class: driver.ClassCrash, Reason: driver.ReasonCrashed}
	}
	policy := w.opts.Retry
	if p, ok := w.opts.QueueRetry[it.d.Queue]; ok {
		policy = p
	}
	if it.handler != nil && it.handler.Retry() != nil {
		policy = *it.handler.Retry()
	}
	return policy.Decide(it.d, it.err, time.Now())
}

// errCrashed: the message's workers died too often while they held it.
var errCrashed = errors.New("its worker died too often while holding it")

// attempt is the line for the message's history; a success needs none.
func (w *Worker) attempt(it *item) *driver.Attempt {
	if it.err == nil {
		return nil
	}
	switch it.outcome.Class {
	case driver.ClassInterrupted, driver.ClassSnooze, driver.ClassLeaseLost:
		return nil
	}
	a := &driver.Attempt{
		Number: it.d.Attempt + 1, Worker: w.id, Started: it.begun, Duration: it.ran,
		Class: it.outcome.Class, Error: it.err.Error(),
	}
	if a.Started.IsZero() {
		a.Started = time.Now()
	}
	var p *posthorn.PanicError
	if errors.As(it.err, &p) {
		a.Stack = p.Stack
	}
	return a
}
