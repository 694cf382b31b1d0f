package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker/verdict"
)

// maxSettle bounds the settlements of one call and the units of one group.
const maxSettle = 500

// commitUnits commits effects with their acknowledgements, as many together as
// wait: one at light load, many under load.
func (w *Worker) commitUnits() {
	for {
		ps := w.units.next(maxSettle)
		if len(ps) == 0 {
			return
		}
		w.units.back(len(ps), w.commit(ps))
	}
}

// commit commits effects, and returns how long they ran.
func (w *Worker) commit(ps []*parcel) time.Duration {
	units := make([]driver.Unit, len(ps))
	var ran atomic.Int64
	for i, p := range ps {
		effect := p.effect.Bind(w.dispatcher)
		units[i] = driver.Unit{
			Delivery: p.d, Alone: p.handler.Alone(), Timeout: p.handler.Timeout(), Context: &p.ctx,
			Effect: func(ctx context.Context, tx driver.Tx) error {
				began := time.Now()
				defer w.entered(p.d)()
				defer func() {
					took := int64(time.Since(began))
					p.ran.Add(took)
					ran.Add(took)
				}()
				return verdict.Own(withCause(ctx, effect(ctx, tx)))
			},
		}
	}
	errs := w.roles.Transactor.Transact(&w.handlers, units)
	done := ps[:0:0]
	away := false
	for i, p := range ps {
		if errs[i] == nil && p.leave() {
			p.outcome = posthorn.Outcome{Verdict: driver.Ack, Class: driver.ClassDone}
			done = append(done, p)
			continue
		}
		away = w.failed(p, errs[i]) || away
	}
	w.release(done)
	if away {
		w.weather.pause(&w.handlers)
	}
	return time.Duration(ran.Load())
}

// failed goes on with a unit that was not committed. When the store is away,
// the effect waits in the worker: its slow part need not run again.
func (w *Worker) failed(p *parcel, err error) (away bool) {
	if err == nil {
		return false // somebody else has ended it
	}
	course, err := verdict.Uncommitted(err, p.ctx.Err() == nil && w.handlers.Err() == nil)
	switch course {
	case verdict.Strand:
		w.strand(p, err)
	case verdict.LetGo:
		w.letGo(p, err)
		return true
	case verdict.Wait:
		w.weather.report(w.opts.Log, err)
		w.units.put(p)
		return true
	case verdict.Finish:
		w.finish(p, err)
	}
	return false
}

// letGo forgets a message of whose commit nobody knows the outcome: if it was
// not committed, the lease runs out, and it is delivered again.
func (w *Worker) letGo(p *parcel, err error) {
	if !p.leave() {
		return
	}
	w.opts.Log.Warn("outcome of a commit is unknown: left to its lease",
		"message_id", p.d.ID, "kind", p.d.Kind, "worker", w.id, "error", err)
	p.ctx.End(errAsked)
	w.hand.remove([]*parcel{p})
}

// strand waits for an effect that did not come back; its transaction is gone,
// but what else it does nobody knows, so the message stays claimed until then.
func (w *Worker) strand(p *parcel, err error) {
	var stuck *driver.StuckError
	if !errors.As(err, &stuck) {
		return
	}
	w.noteStuck(p)
	w.limbo.Go(func() {
		select {
		case <-stuck.Done:
			w.count.stuck.Add(-1)
			p.stuckSince.Store(0)
			w.finish(p, stuck)
		case <-w.handlers.Done(): // the worker ends without it
			w.finish(p, w.abandoned(p))
		}
	})
}

// settleEnded settles verdicts in batches.
func (w *Worker) settleEnded() {
	for {
		ps := w.ended.take(maxSettle)
		if len(ps) == 0 {
			return
		}
		w.settle(ps)
	}
}

// settle is the one place where verdicts reach the transport. It does not give
// up while the transport is away, unless the worker has to end: then the leases
// run out, and others take the messages. What the transport refuses is settled
// one by one, so that one verdict cannot hold up the others.
func (w *Worker) settle(ps []*parcel) {
	err := w.settleOnce(ps)
	next := verdict.Settled(err, w.transient(err), len(ps))
	for ; next == verdict.Again; next = verdict.Settled(err, w.transient(err), len(ps)) {
		w.weather.report(w.opts.Log, err)
		if !w.weather.pause(&w.handlers) {
			break
		}
		err = w.settleOnce(ps)
	}
	if next == verdict.Singly {
		for _, p := range ps {
			w.settle([]*parcel{p})
		}
		return
	}
	if err != nil {
		w.opts.Log.Error("could not settle: the messages will be delivered again",
			"worker", w.id, "count", len(ps), "message_id", ps[0].d.ID, "error", err)
	}
	w.release(ps)
}

// settleOnce notes the claims that were lost; any other error means that
// nothing was settled.
func (w *Worker) settleOnce(ps []*parcel) error {
	ss := slices.Grow(w.settling[:0], len(ps))
	for _, p := range ps {
		ss = append(ss, verdict.Settlement(p.d, p.outcome, p.line))
	}
	defer clear(ss)
	w.settling = ss
	ctx, cancel := context.WithTimeout(context.WithoutCancel(&w.handlers), w.opts.Lease)
	defer cancel()
	err := w.consumer.Settle(ctx, ss...)
	var lost *driver.LeaseLostError
	if errors.As(err, &lost) {
		w.noteLost(ps, lost)
		return nil
	}
	return err
}

// transient reports whether the transport is at fault, not the call.
func (w *Worker) transient(err error) bool {
	return err != nil && (errors.Is(err, driver.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		w.roles.Classifier != nil && w.roles.Classifier.Classify(err) == driver.ClassTransient)
}

// noteLost marks the parcels whose claim was lost.
func (w *Worker) noteLost(ps []*parcel, lost *driver.LeaseLostError) {
	byToken := make(map[driver.Token]bool, len(lost.Lost))
	for _, d := range lost.Lost {
		byToken[d.Token] = true
	}
	for _, p := range ps {
		if byToken[p.d.Token] {
			p.outcome.Class = driver.ClassLeaseLost
		}
	}
}

// release lets go of parcels that are done with, and tells about them.
func (w *Worker) release(ps []*parcel) {
	if len(ps) == 0 {
		return
	}
	var latest time.Time
	for _, p := range ps {
		p.ctx.End(errAsked)
		w.tally(p)
		if p.claimed.After(latest) {
			latest = p.claimed
		}
	}
	w.checkHandled()
	w.pace.settled(len(ps), w.hand.len(), latest) // before somebody hears of the room: it says how much that is
	w.hand.remove(ps)
}

// tally counts a parcel and reports it.
func (w *Worker) tally(p *parcel) {
	out := p.outcome
	switch {
	case out.Class == driver.ClassDone:
		w.count.handled.Add(1)
	case out.Class.Counts():
		w.count.handled.Add(1)
		w.count.failed.Add(1)
	}
	w.logOutcome(p)
	w.events.put(Event{
		Delivery: p.d, Class: out.Class, Verdict: out.Verdict, Reason: out.Reason, Duration: time.Duration(p.ran.Load()),
		Delay: out.Delay, Err: p.err, Worker: w.id, Waited: p.waited(),
	})
}

// named are the keys of a log line by which a message is found again.
func named(d driver.Delivery) []any {
	args := []any{"message_id", d.ID, "kind", d.Kind}
	if trace, _ := d.TraceID(); trace != "" {
		args = append(args, "trace_id", trace)
	}
	return args
}

// logOutcome writes one line for each failed attempt and each dead letter.
func (w *Worker) logOutcome(p *parcel) {
	out := p.outcome
	if out.Class == driver.ClassDone {
		return
	}
	args := append(named(p.d), "queue", p.d.Queue, "attempt", p.d.Attempt+1, "class", string(out.Class),
		"worker", w.id)
	if fault := w.fault(p.err); fault != "" {
		args = append(args, "fault", fault)
	}
	switch {
	case out.Class == driver.ClassLeaseLost:
		w.opts.Log.Warn("lease lost: somebody else has the message", args...)
	case out.Verdict == driver.Bury:
		w.opts.Log.Error("dead letter", append(args, "reason", out.Reason, "error", p.err)...)
	case out.Class == driver.ClassInterrupted, out.Class == driver.ClassSnooze:
		w.opts.Log.Debug("message given back", append(args, "delay", out.Delay)...)
	default:
		w.opts.Log.Warn("attempt failed", append(args, "retry_in", out.Delay, "error", p.err)...)
	}
}

// fault names what an error of the transport's database is about, else nothing.
func (w *Worker) fault(err error) string {
	if err == nil || w.roles.Diagnoser == nil {
		return ""
	}
	return w.roles.Diagnoser.Fault(err)
}
