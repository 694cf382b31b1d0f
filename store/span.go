package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
	"github.com/posthorn/posthorn/internal/mutant"
)

// A span is a part of a group's transaction: some units whose claims are settled
// together, before their effects run.
type span struct {
	group  *group
	conn   Conn
	raw    *sql.Tx
	units  []int
	nested bool // it can be undone without the spans before it

	ran     []int // what is done, if the transaction commits
	again   []int // what has to run again
	culprit int   // who ended the transaction; or nobody
}

// A fate is what became of a span in the open transaction.
type fate uint8

// The fates.
const (
	kept    fate = iota // done, if the transaction commits
	undone              // the transaction stands, as it was before the span
	wrecked             // the transaction is gone
)

// effects runs the effects of units whose claims stand.
func (s *span) effects(ctx context.Context, standing []int) fate {
	es := &effects{span: s, ctx: ctx, standing: standing, since: time.Now()}
	s.group.run.run(es)
	if es.fell {
		return es.fate
	}
	if s.finish(ctx, es.queued, len(standing)) != nil {
		return s.apart(ctx, standing)
	}
	s.ran = standing
	s.group.store.width.widen()
	return kept
}

// clock notes how long the effects of some units took. Those that run apart say nothing
// of the others.
func (s *span) clock(took time.Duration, ran []int) {
	if g := s.group; !g.alone && !g.apart(ran[0]) && !g.lonely(g.units[ran[0]]) {
		g.store.width.took(took, len(ran))
	}
}

// patience is how long the effects of a span may take together. Its width was a guess,
// and what it has settled is locked, so that its leases cannot be renewed.
func (s *span) patience() time.Duration {
	return s.group.store.opts.GroupBudget + max(s.group.store.opts.SlowEffect, 0)
}

// shorter undoes a span that takes too long, for which nobody is to blame. Its units run
// again in spans that are as narrow as their time allows.
func (s *span) shorter(ctx context.Context, standing []int) fate {
	s.again = standing
	if s.undo(ctx, false) != nil {
		return wrecked
	}
	return undone
}

// finish runs what the effects of a span of n units have queued, in as few round trips
// as the database can, and makes sure that the transaction stands at its end.
func (s *span) finish(ctx context.Context, queued []Queued, n int) error {
	if len(queued) > 0 {
		if err := s.conn.Do(ctx, &Write{Run: queued}); err != nil {
			return err
		}
	}
	if len(queued) > 0 || s.group.store.MustAsk && n > 1 {
		return s.proof(ctx)
	}
	return nil
}

// apart undoes the span after a queued statement failed, or after the transaction turned
// out to have ended. Each unit runs again in a span of its own, where it turns out whose
// doing it was.
func (s *span) apart(ctx context.Context, standing []int) fate {
	for _, i := range standing {
		s.group.single[i] = true
	}
	s.again = standing
	s.group.store.width.narrow()
	if s.undo(ctx, false) != nil {
		return wrecked
	}
	return undone
}

// proof makes sure that the transaction stands. Where the connection knows it only by
// asking, the span's savepoint is released, which fails if it is gone: with the
// transaction in which it was set.
func (s *span) proof(ctx context.Context) error {
	if !s.group.store.MustAsk {
		if s.conn.Whole() {
			return nil
		}
		if _, err := s.conn.Exec(ctx, s.group.store.SQL.StoreID); err != nil { // says why
			return fmt.Errorf("%w: %w", driver.ErrTxEnded, err)
		}
		return driver.ErrTxEnded
	}
	if _, err := s.conn.Exec(ctx, s.group.store.SQL.Release); err != nil {
		return fmt.Errorf("%w: %w", driver.ErrTxEnded, err)
	}
	s.group.saved = false
	return nil
}

// settle acknowledges the units in the transaction, and returns those whose claim
// still stood.
func (s *span) settle(ctx context.Context) (standing []int, err error) {
	g := s.group
	w := &Write{}
	for _, i := range s.units {
		u := g.units[i]
		if cause := inhand.Cause(u.Context); cause != nil {
			g.errs[i] = cause
			continue
		}
		claim, err := claimOf(&u.Delivery)
		if err != nil {
			g.errs[i] = err
			continue
		}
		w.Ack, standing = append(w.Ack, claim), append(standing, i)
	}
	if len(standing) == 0 {
		return nil, nil
	}
	if g.saved {
		w.Before = append(w.Before, g.store.SQL.Release)
	}
	if g.saved = s.nested; s.nested {
		w.Before = append(w.Before, g.store.SQL.Savepoint)
	}
	if err := s.conn.Do(ctx, w); err != nil {
		return nil, err
	}
	if mutant.AckFirst {
		return standing, s.settleApart(ctx)
	}
	if len(w.Lost) == 0 {
		return standing, nil
	}
	return slices.DeleteFunc(standing, func(i int) bool {
		claim, _ := claimOf(&g.units[i].Delivery)
		lost := slices.Contains(w.Lost, claim)
		if lost {
			g.errs[i] = &driver.LeaseLostError{Lost: []driver.Delivery{g.units[i].Delivery}}
		}
		return lost
	}), nil
}

// failed undoes the span after the n-th effect failed. The failure is final only
// where no neighbour can be the reason: in a span of its own, or by the end of the
// unit's own time.
func (s *span) failed(ctx context.Context, standing []int, n int, err error) fate {
	g, i := s.group, standing[n]
	late := g.units[i].Context.Err() != nil || errors.Is(err, driver.ErrTimeout) || isStuck(err)
	final := !errors.Is(err, errSlow) && !errors.Is(err, errTogether) && (len(standing) == 1 || late)
	s.again = slices.Clone(standing)
	if final {
		g.errs[i] = err
		s.again = slices.Delete(s.again, n, n+1)
	} else {
		g.single[i] = true
	}
	g.store.width.narrow()
	doubtful := g.store.Parts.Classify(err) == driver.ClassTransient && !errors.Is(err, driver.ErrTxEnded)
	lost := s.undo(ctx, doubtful)
	switch {
	case lost == nil:
		return undone
	case final && !late && len(g.seen) > 1 && g.store.Parts.Fault(lost) == FaultStatementTimeout:
		// The handler has not ended the transaction: somebody before it may have left the time
		// limit that going back ran into, and whatever else it met.
		s.again = standing
	case final:
		s.culprit = i
		if doubtful {
			// The connection was lost while the handler read its rows, or had it raw.
			g.errs[i] = fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
		}
	}
	return wrecked
}

// undo goes back to where the span began. An error says why the transaction does not
// stand any more. Doubtful is a failure that may be the connection's.
func (s *span) undo(ctx context.Context, doubtful bool) error {
	if !s.nested {
		s.conn.Rollback(ctx)
		if s.raw != nil && !doubtful {
			return nil // its handler had it alone: nothing else is to be run in it
		}
		_, err := s.conn.Begin(ctx, s.raw != nil) // a raw one asks the server at once
		if s.raw != nil {
			s.conn.Rollback(ctx)
		}
		return err
	}
	_, err := s.conn.Exec(ctx, s.group.store.SQL.RollbackTo)
	return err
}
