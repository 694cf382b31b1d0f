package store

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/inhand"
)

// An effect is the effect of one unit while it runs, under the session guard and its deadline.
type effect struct {
	group *group
	i     int  // the unit
	alone bool // in its span
	began time.Time
	tx    *unitTx
}

// enter lets the unit's effect into the transaction of a span, and says for how long it is waited for; zero
// is without end.
func (s *span) enter(i int, alone bool) (e effect, limit time.Duration) {
	g := s.group
	u := &g.units[i]
	e = effect{group: g, i: i, alone: alone, began: time.Now(), tx: newUnitTx(g.store, s.conn, s.raw)}
	e.tx.effect, e.tx.flushes = u.Effect, alone || g.store.GuardsRuns
	end := time.Time{}
	bound, why := g.within(*u)
	if bound > 0 {
		end = e.began.Add(bound)
	}
	e.tx.life.Bound(u.Context, end, why)
	e.tx.user.Enter(&e.tx.life, !alone)
	g.seen = append(g.seen, i)
	if u.Timeout > 0 {
		limit = u.Timeout + g.store.opts.StuckGrace
	}
	failpoint.Pass(failpoint.BeforeEffect)
	return e, limit
}

// leave takes the transaction away from it again, and says what came of it.
func (e *effect) leave(err error) (queued []Queued, failed error) {
	g, t := e.group, e.tx
	u := &g.units[e.i]
	failpoint.Pass(failpoint.AfterEffect)
	cause := inhand.Cause(&t.life) // before its end
	if dirty := t.end(); dirty != "" {
		g.dirty = true
		g.store.traces.note(u.Delivery.Kind, true) // the next of its kind must not cost others a run
		g.store.opts.Meter.LeftDirty(u.Delivery.Kind)
		g.store.opts.Log.Warn(leftDirty, "kind", u.Delivery.Kind, "message_id", u.Delivery.ID, "cause", dirty)
	}
	if g.recall(*u, e.began); g.slowly(cause, e.i, err) {
		return nil, errSlow
	}
	if g.ending(*u, t.user.MayEnd()) && !e.alone && !isStuck(err) {
		return nil, errTogether
	}
	if refused := t.user.Refused(); err == nil && refused != nil {
		if cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("handler returned nil although %w", refused)
	}
	if err != nil {
		return nil, err // one that is stuck may still run what it has queued
	}
	return t.queued, nil
}

// single runs the effect of a unit for itself, and forgets what it queued.
func (s *span) single(i int) error {
	e, limit := s.enter(i, true)
	_, err := e.leave(s.group.run.do(e.tx.call, limit))
	return err
}

// effects are those of a span, one after the other.
type effects struct {
	span     *span
	ctx      context.Context //nolint:containedctx // of the span, which runs as long as they do
	standing []int
	since    time.Time

	effect // that runs, or ran last
	n      int
	queued []Queued
	fell   bool // the span is not kept
	fate   fate
}

// next lets the next one in.
func (es *effects) next() (c caller, limit time.Duration, from time.Time) {
	if es.fell || es.n == len(es.standing) {
		return nil, 0, from
	}
	es.effect, limit = es.span.enter(es.standing[es.n], len(es.standing) == 1)
	return es.tx, limit, es.began
}

// ended decides whether the span goes on.
func (es *effects) ended(err error) {
	s, g, last := es.span, es.span.group, es.n == len(es.standing)-1
	more, err := es.leave(err)
	es.queued = append(es.queued, more...)
	if err == nil && (!g.store.MustAsk || es.alone) {
		err = s.proof(es.ctx)
	}
	took := time.Since(es.since)
	s.clock(took, es.standing[:es.n+1])
	if err != nil {
		es.fall(s.failed(es.ctx, es.standing, es.n, err))
		return
	}
	g.errs[es.i] = nil
	switch {
	case g.dirty && len(es.standing) > 1:
		// The others must not meet what it has left, and are settled already.
		s.again = es.standing
		es.fall(wrecked)
	case !last && took > s.patience():
		es.fall(s.shorter(es.ctx, es.standing))
	default:
		es.n++
	}
}

// fall ends the span.
func (es *effects) fall(f fate) { es.fell, es.fate = true, f }
