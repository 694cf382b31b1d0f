package worker

import (
	"context"
	"errors"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// maxSettle bounds the settlements of one call and the units of one group.
const maxSettle = 500

// commitUnits commits effects with their acknowledgements, as many together as
// wait: one at light load, many under load.
func (w *Worker) commitUnits() {
	for {
		its := w.units.take(maxSettle)
		if len(its) == 0 {
			return
		}
		w.commit(its)
	}
}

func (w *Worker) commit(its []*item) {
	units := make([]driver.Unit, len(its))
	for i, it := range its {
		effect := it.effect.Bind(w.dispatcher)
		units[i] = driver.Unit{
			Delivery: it.d, Alone: it.handler.Alone(), Timeout: it.handler.Timeout(), Context: it.ctx,
			Effect: func(ctx context.Context, tx driver.Tx) error {
				began := time.Now()
				if it.begun.IsZero() {
					it.begun = began
				}
				defer func() { it.ran += time.Since(began) }()
				return withCause(ctx, effect(ctx, tx))
			},
		}
	}
	errs := w.roles.Transactor.Transact(w.handlers, units)
	done := its[:0:0]
	away := false
	for i, it := range its {
		if errs[i] == nil && it.leave() {
			it.outcome = posthorn.Outcome{Verdict: driver.Ack, Class: driver.ClassDone}
			done = append(done, it)
			continue
		}
		away = w.failed(it, errs[i]) || away
	}
	w.release(done)
	if away {
		w.weather.pause(w.handlers)
	}
}

// failed goes on with a unit that was not committed. When the store is away,
// the effect waits in the worker: its slow part need not run again.
func (w *Worker) failed(it *item, err error) (away bool) {
	var stuck *driver.StuckError
	switch {
	case err == nil:
		return false // somebody else has ended it
	case errors.As(err, &stuck):
		w.strand(it, stuck)
		return false
	case errors.Is(err, driver.ErrUnavailable) && it.ctx.Err() == nil && w.handlers.Err() == nil:
		w.weather.report(w.opts.Log, err)
		w.units.put(it)
		return true
	}
	w.finish(it, err)
	return false
}

// strand waits for an effect that did not come back; its transaction is gone,
// but what else it does nobody knows, so the message stays claimed until then.
func (w *Worker) strand(it *item, stuck *driver.StuckError) {
	w.markStuck(it)
	w.limbo.Go(func() {
		select {
		case <-stuck.Done:
			w.count.stuck.Add(-1)
			w.finish(it, stuck)
		case <-w.handlers.Done(): // given back by whoever stops the worker
			w.finish(it, context.Cause(w.handlers))
		}
	})
}

// settleEnded settles verdicts in batches.
func (w *Worker) settleEnded() {
	for {
		its := w.ended.take(maxSettle)
		if len(its) == 0 {
			return
		}
		w.settle(its)
	}
}

// settle is the one place where verdicts reach the transport. It does not give
// up while the transport is away, unless the worker has to end: then the leases
// run out, and others take the messages.
func (w *Worker) settle(its []*item) {
	ss := make([]driver.Settlement, len(its))
	for i, it := range its {
		ss[i] = it.settlement
	}
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.handlers), w.opts.Lease)
		err := w.consumer.Settle(ctx, ss...)
		cancel()
		var lost *driver.LeaseLostError
		switch {
		case err == nil:
		case errors.As(err, &lost):
			w.noteLost(its, lost)
		default:
			w.weather.report(w.opts.Log, err)
			if w.weather.pause(w.handlers) {
				continue
			}
			w.opts.Log.Error("could not settle before the end: the messages will be delivered again",
				"worker", w.id, "count", len(its), "error", err)
		}
		break
	}
	w.release(its)
}

// noteLost marks the items whose claim was lost.
func (w *Worker) noteLost(its []*item, lost *driver.LeaseLostError) {
	byToken := make(map[driver.Token]bool, len(lost.Lost))
	for _, d := range lost.Lost {
		byToken[d.Token] = true
	}
	for _, it := range its {
		if byToken[it.d.Token] {
			it.outcome.Class = driver.ClassLeaseLost
		}
	}
}

// release lets go of items that are done with, and tells about them.
func (w *Worker) release(its []*item) {
	if len(its) == 0 {
		return
	}
	for _, it := range its {
		it.cancel(errAsked)
		w.tally(it)
	}
	w.checkCounts()
	w.hand.remove(its)
	w.pace.settled(len(its))
}

// tally counts an item and reports it.
func (w *Worker) tally(it *item) {
	out := it.outcome
	switch {
	case out.Class == driver.ClassDone:
		w.count.handled.Add(1)
	case out.Class.Counts():
		w.count.handled.Add(1)
		w.count.failed.Add(1)
	}
	w.logOutcome(it)
	w.events.put(Event{
		Delivery: it.d, Class: out.Class, Verdict: out.Verdict, Reason: out.Reason, Duration: it.ran,
		Delay: out.Delay, Err: it.err, Worker: w.id,
	})
}

// logOutcome writes one line for each failed attempt and each dead letter.
func (w *Worker) logOutcome(it *item) {
	out := it.outcome
	if out.Class == driver.ClassDone {
		return
	}
	args := []any{
		"message_id", it.d.ID, "kind", it.d.Kind, "queue", it.d.Queue, "attempt", it.d.Attempt + 1,
		"class", string(out.Class), "worker", w.id,
	}
	switch {
	case out.Class == driver.ClassLeaseLost:
		w.opts.Log.Warn("lease lost: somebody else has the message", args...)
	case out.Verdict == driver.Bury:
		w.opts.Log.Error("dead letter", append(args, "reason", out.Reason, "error", it.err)...)
	case out.Class == driver.ClassInterrupted, out.Class == driver.ClassSnooze:
		w.opts.Log.Debug("message given back", append(args, "delay", out.Delay)...)
	default:
		w.opts.Log.Warn("attempt failed", append(args, "retry_in", out.Delay, "error", it.err)...)
	}
}
