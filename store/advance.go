package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/operation"
)

// A Turn is the right to advance an operation. Its fence is lower than that of any
// later turn, and every step compares it: who was slow finds that it has lost the
// right, and changes nothing.
type Turn struct {
	ID     string   // of the operation
	Edit   EditFunc // makes new versions; nil: edits are not advanced
	holder string
	lease  time.Duration
	fence  int64

	// Rest lets the next step only look at what is in flight.
	Rest bool
	// Yields is the queue to which the operation gives way, for people; empty: to none.
	Yields string

	pace  operation.Pace
	ahead []int64 // of a planted fault: letters that were sent already
}

// An Advance is what a step has done.
type Advance struct {
	Operation Operation     // after it
	Moved     int           // letters that had their turn
	Found     int           // outcomes that were found
	InHand    int           // letters in flight that a worker holds, of those that were looked at
	More      bool          // there was as much to do as fits into a step
	Took      time.Duration // by the transaction, once it was begun
	Wait      time.Duration // until the rate allows another letter; 0: it does, or there is none
}

// Advance does the next piece of an operation's work, in one short transaction: it
// writes letters down, notes what has become of those in flight, and lets the next ones
// have their turn as far as stage, rate and state allow. It renews the turn's lease: each
// time it changes something, and else when a third of it is over, so that who looks
// oftener than that writes nothing while nothing happens.
// The transaction is the whole of it: after an error, also one that leaves open whether
// it was committed, the next step begins with what the store holds. Errors: ErrFenced
// when the turn is over; driver.ErrUnavailable; others may pass when it is called again.
func (s *Store) Advance(ctx context.Context, t *Turn) (a Advance, err error) {
	if mutant.OperationInTwo {
		if err := s.sendAhead(ctx, t); err != nil {
			return a, s.explain("advance operation "+t.ID, err)
		}
	}
	var began time.Time
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		a, began = Advance{}, time.Now()
		return (&stride{store: s, q: q, turn: t, done: &a}).run(ctx)
	})
	switch {
	case err == nil:
		t.pace.Well()
		a.Took = time.Since(began)
	case errors.Is(err, ErrFenced), errors.Is(err, driver.ErrUnsupported),
		errors.Is(s.explain("", err), driver.ErrUnavailable):
	default:
		t.pace.Failed(operation.Usual())
	}
	if a.Moved > 0 {
		s.hub.wake()
	}
	return a, s.explain("advance operation "+t.ID, err)
}

// A stride is one step of an operation in its transaction. It is the operation.Letters of
// that step.
type stride struct {
	store *Store
	q     Session
	turn  *Turn
	o     *Operation // locked, as it was before the step
	was   string     // what it was, as its row has it
	done  *Advance
	last  int64 // the highest letter
}

func (s *stride) run(ctx context.Context) error {
	o, err := s.store.lockOperation(ctx, s.q, s.turn.ID)
	switch {
	case errors.Is(err, ErrNoOperation):
		return ErrFenced
	case err != nil:
		return err
	case !o.lease.Stands(s.turn.fence):
		return ErrFenced
	}
	s.o = &o
	if s.was, err = o.encode(); err != nil {
		return err
	}
	course := o.course()
	step := operation.Step{
		Course: &course, Letters: s, Bounds: operation.Usual(), Pace: s.turn.pace, Rest: s.turn.Rest, Now: o.Now,
	}
	if err := step.Run(ctx); err != nil {
		return err
	}
	o.follow(course)
	s.done.Moved, s.done.Found, s.done.More, s.done.Wait = step.Moved, step.Found, step.More, step.Wait
	s.done.InHand = step.InHand
	if err := s.tell(ctx, &step); err != nil {
		return err
	}
	return s.keep(ctx)
}

// tell writes down that the operation has stopped or ended, for the audit.
func (s *stride) tell(ctx context.Context, step *operation.Step) error {
	o := s.o
	switch {
	case step.Stopped:
		return s.store.audit(ctx, s.q, Act{
			Actor: s.turn.holder, Verb: VerbHalt, Subject: o.ID, Count: 1, Was: string(OperationRunning),
			Became: string(o.State), Reason: o.Why,
		})
	case step.Finished:
		return s.store.audit(ctx, s.q, Act{
			Actor: o.Actor, Verb: VerbEnd, Subject: o.ID, Count: o.Done, Became: o.tally(), Filter: o.Chosen,
		})
	}
	return nil
}

// keep writes down what the step has made of the operation, and renews the lease, if
// either is called for.
func (s *stride) keep(ctx context.Context) error {
	o := s.o
	o.Yields = ""
	if o.State == OperationFreezing || o.State == OperationRunning {
		o.Yields = s.turn.Yields
	}
	is, err := o.encode()
	if err != nil {
		return err
	}
	if is != s.was || o.lease.Due(s.turn.lease, o.Now) {
		o.lease.Renew(s.turn.holder, s.turn.lease, o.Now)
		o.Holder = o.lease.Holder
		err = s.store.saveAs(ctx, s.q, o, is)
	}
	s.done.Operation = *o
	return err
}

// inHand is what TargetsFlying says of a message that a worker holds.
const inHand = 2

// Flying finds the next letters in flight after one.
func (s *stride) Flying(ctx context.Context, after int64, most int) (out []operation.Flyer, err error) {
	err = s.q.Query(ctx, s.store.SQL.TargetsFlying, []any{s.o.seq, after, most}, func(r Row) error {
		var f operation.Flyer
		var live int
		err := r.Scan(&f.Letter, &live, &f.Dead)
		f.Live, f.InHand = live > 0, live == inHand
		out = append(out, f)
		return err
	})
	return out, err
}

// Mark writes down what has become of letters. Of those that are put back now, what dies
// again is a letter with a number above the highest that there is.
func (s *stride) Mark(ctx context.Context, found operation.Fates) error {
	for fate, letters := range found {
		if len(letters) == 0 {
			continue
		}
		args := append([]any{int(fate), s.last, s.o.seq}, listed(letters)...)
		n, err := s.q.Exec(ctx, s.store.SQL.TargetsUp+list(len(letters)), args...)
		if err != nil {
			return err
		}
		if n != int64(len(letters)) {
			return fmt.Errorf("mark letters of operation %s: %d of %d are there", s.o.ID, n, len(letters))
		}
	}
	return nil
}

// Next finds the first letters that have had no turn.
func (s *stride) Next(ctx context.Context, most int) (next []int64, err error) {
	err = s.q.Query(ctx, s.store.SQL.TargetsNext, []any{s.o.seq, most}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		next = append(next, seq)
		return err
	})
	if mutant.OperationInTwo && s.o.Action == ActionRetry {
		next = s.turn.ahead
	}
	if err != nil || len(next) == 0 {
		return nil, err
	}
	err = s.q.Query(ctx, s.store.SQL.LetterLast, nil, func(r Row) error { return r.Scan(&s.last) })
	return next, err
}

// Lock reads letters, and keeps others from changing them.
func (s *stride) Lock(ctx context.Context, seqs []int64) (map[int64]operation.Letter, error) {
	out := make(map[int64]operation.Letter, len(seqs))
	stmt := s.store.SQL.LetterLock + list(len(seqs)) + " order by seq" + s.store.SQL.Lock
	return out, s.q.Query(ctx, stmt, listed(seqs), func(r Row) error {
		var l operation.Letter
		var discarded bool
		err := r.Scan(&l.Seq, &l.ID, &discarded, &l.Size)
		l.Fits = discarded == s.o.Filter.Discarded
		out[l.Seq] = l
		return err
	})
}

// Change does to letters what the operation is for.
func (s *stride) Change(ctx context.Context, ls []operation.Letter, found operation.Fates) error {
	if err := bulkOf(s.o.Action)(s.store, ctx, s.q, bulk{s.o, ls, found, s.turn.Edit}); err != nil {
		return err
	}
	failpoint.Pass(failpoint.MidOperation)
	return nil
}
