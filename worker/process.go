package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
	"github.com/posthorn/posthorn/internal/inhand"
	"github.com/posthorn/posthorn/worker/verdict"
)

// stuckGrace is how long after its deadline a handler is called stuck.
const stuckGrace = 5 * time.Second

// errGoexit: the handler ended its goroutine instead of returning.
var errGoexit = errors.New("handler called runtime.Goexit")

// process is the life of a message in a worker's slot: run the slow part of
// its handler, then hand it on to be committed with its effect, or decide.
func (w *Worker) process(p *parcel) {
	if err := w.admit(p); err != nil {
		w.finish(p, err)
		return
	}
	effect, err := w.start(p)
	if err != nil || effect == nil {
		w.finish(p, err)
		return
	}
	p.effect = effect
	w.units.put(p)
}

// finish decides what becomes of a message whose handler ended with err, and
// hands the verdict on to be settled. Somebody else may have ended it already.
func (w *Worker) finish(p *parcel, err error) {
	if p.leave() {
		w.finishAs(p, err)
	}
}

// finishAs is finish for who has the right to end the parcel.
func (w *Worker) finishAs(p *parcel, err error) {
	p.err = w.explain(p, err)
	p.outcome = w.decide(p)
	w.checkFailures(p.outcome.Class)
	p.line = w.attempt(p)
	w.hand.end(p)
	w.ended.put(p)
}

// admit refuses a message without a handler, and one that has killed its
// worker too often.
func (w *Worker) admit(p *parcel) error {
	if err := w.rules.Admit(p.d, p.handler != nil); err != nil {
		return err
	}
	return inhand.Cause(&p.ctx)
}

// start runs the slow part under the handler's deadline.
func (w *Worker) start(p *parcel) (effect posthorn.Effect, err error) {
	p.begun = time.Now()
	ctx := &p.slow
	ctx.Bound(&p.ctx, p.begun.Add(p.handler.Timeout()), driver.ErrTimeout)
	defer ctx.End(nil)
	defer w.entered(p.d)()
	p.deadline.Store(w.clock() + int64(p.handler.Timeout()+stuckGrace))
	returned := false
	defer func() {
		p.ran.Store(int64(time.Since(p.begun)))
		w.unwatch(p)
		if !returned { // by Goexit: this goroutine is ending
			w.finish(p, errGoexit)
		}
	}()
	effect, err = p.handler.Start(ctx, p.d)
	returned = true
	return effect, withCause(ctx, err)
}

// entered tells the recorder that user code begins; the function that it returns, that
// it has ended.
func (w *Worker) entered(d driver.Delivery) (left func()) {
	rec := w.opts.Recorder
	if rec == nil {
		return func() {}
	}
	slot := rec.Enter(d)
	return func() { rec.Leave(slot) }
}

// withCause adds to the error of a handler why its context ended.
func withCause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// explain marks faults of the infrastructure, which cost no attempt.
func (w *Worker) explain(p *parcel, err error) error {
	if err == nil || w.roles.Classifier == nil || errors.Is(err, verdict.ErrCrashed) {
		return err
	}
	if w.roles.Classifier.Classify(err) == driver.ClassTransient {
		return &posthorn.InfrastructureError{Err: err}
	}
	return err
}

// decide asks the policy of the handler, else of the queue, else the worker's.
func (w *Worker) decide(p *parcel) posthorn.Outcome {
	policy := w.opts.Retry
	if own, ok := w.opts.QueueRetry[p.d.Queue]; ok {
		policy = own
	}
	if p.handler != nil && p.handler.Retry() != nil {
		policy = *p.handler.Retry()
	}
	return verdict.Decide(policy, p.d, p.err, time.Now())
}

// attempt is the line for the message's history; a success needs none.
func (w *Worker) attempt(p *parcel) *driver.Attempt {
	if p.err == nil || !verdict.Noted(p.outcome.Class) {
		return nil
	}
	a := &driver.Attempt{
		Number: p.d.Attempt + 1, Worker: w.id, Started: p.begun, Duration: time.Duration(p.ran.Load()),
		Class: p.outcome.Class, Error: p.err.Error(), Build: w.opts.Version,
	}
	if a.Started.IsZero() {
		a.Started = time.Now()
	}
	var (
		panicked *posthorn.PanicError
		stuck    *abandonedError
	)
	if errors.As(p.err, &panicked) {
		a.Stack = panicked.Stack
	}
	if errors.As(p.err, &stuck) {
		a.Stack = stuck.stack
	}
	if p.outcome.Verdict == driver.Bury {
		mark(a, p.d.Kind, p.err)
	}
	return a
}

// mark says which fault an attempt died of: here is the only place that still has the
// error itself.
func mark(a *driver.Attempt, kind string, err error) {
	f := fingerprint.FailureOf(kind, a.Class, err)
	f.Stack = a.Stack
	a.Type, a.Fingerprint = fingerprint.Type(f.Chain), fingerprint.Of(f)
}
