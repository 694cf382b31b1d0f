package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
)

// A Turn is the right to advance an operation. Its fence is lower than that of any
// later turn, and every step compares it: who was slow finds that it has lost the
// right, and changes nothing.
type Turn struct {
	ID     string   // of the operation
	Edit   EditFunc // makes new versions; nil: edits are not advanced
	holder string
	lease  int64 // milliseconds
	fence  int64

	// Rest lets the next step only look at what is in flight.
	Rest bool
	// Yields is the queue to which the operation gives way, for people; empty: to none.
	Yields string

	batch int     // letters at most in the next step; 0: as many as fit
	skip  bool    // the next letter cannot be changed, and is refused
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
		t.batch, t.skip, a.Took = 0, false, time.Since(began)
	case errors.Is(err, ErrFenced), errors.Is(err, driver.ErrUnsupported),
		errors.Is(s.explain("", err), driver.ErrUnavailable):
	default:
		t.narrow()
	}
	if a.Moved > 0 {
		s.hub.wake()
	}
	return a, s.explain("advance operation "+t.ID, err)
}

// narrow lets the next step do less, to find the letter that cannot be changed.
func (t *Turn) narrow() {
	switch {
	case t.batch == 0:
		t.batch = operationBatch / 2
	case t.batch > 1:
		t.batch /= 2
	default:
		t.skip = true
	}
}

// A stride is one step of an operation in its transaction.
type stride struct {
	store *Store
	q     Session
	turn  *Turn
	o     *Operation // locked
	was   string     // what o was before, as its row has it
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
	case o.fence != s.turn.fence:
		return ErrFenced
	}
	now := o.Now.UnixMilli()
	s.o = &o
	if s.was, err = o.encode(); err != nil {
		return err
	}
	if o.State == OperationFreezing {
		err = s.freeze(ctx)
	} else {
		err = s.carryOn(ctx)
	}
	if err == nil && o.finish(now) {
		err = s.store.audit(ctx, s.q, Act{
			Actor: o.Actor, Verb: VerbEnd, Subject: o.ID, Count: o.Done, Became: o.tally(), Filter: o.Chosen,
		})
	}
	if err != nil {
		return err
	}
	if wait := o.ledger.Next - now; o.State == OperationRunning && o.Left() > 0 && wait > 0 {
		s.done.Wait = time.Duration(wait) * time.Millisecond
	}
	return s.keep(ctx)
}

// keep writes down what the step has made of the operation, and renews the lease, if
// either is called for.
func (s *stride) keep(ctx context.Context) error {
	const renewal = 3 // parts of a lease, of which one may pass
	o, now := s.o, s.o.Now.UnixMilli()
	o.Yields = ""
	if o.State == OperationFreezing || o.State == OperationRunning {
		o.Yields = s.turn.Yields
	}
	is, err := o.encode()
	if err != nil {
		return err
	}
	if is != s.was || o.lease-now <= s.turn.lease-s.turn.lease/renewal {
		o.Holder, o.lease = s.turn.holder, now+s.turn.lease
		err = s.store.saveOperation(ctx, s.q, o)
	}
	s.done.Operation = *o
	return err
}

// carryOn looks after what is in flight, and lets the next letters have their turn.
func (s *stride) carryOn(ctx context.Context) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	if s.o.judge() {
		return s.store.audit(ctx, s.q, Act{
			Actor: s.turn.holder, Verb: VerbPause, Subject: s.o.ID, Count: 1, Was: string(OperationRunning),
			Became: string(s.o.State), Reason: s.o.Why,
		})
	}
	n := s.o.allowed(s.o.Now.UnixMilli())
	if s.turn.Rest {
		n = 0
	}
	if s.turn.batch > 0 {
		n = min(n, s.turn.batch)
	}
	if n == 0 {
		return nil
	}
	return s.move(ctx, n)
}

// A targetState is where a letter of an operation stands, as its record has it.
type targetState int

const (
	targetWaiting targetState = iota
	targetFlying
	targetDone
	targetFailed
	targetGone
	targetRefused
)

// fates are letters, by what has become of them.
type fates map[targetState][]any

// add notes what has become of letters.
func (f fates) add(state targetState, seqs ...any) { f[state] = append(f[state], seqs...) }

// inHand is what TargetsFlying says of a message that a worker holds.
const inHand = 2

// look finds out what has become of some letters in flight. A message that is neither
// live nor dead is done. What died again is a letter with a later number: it has failed,
// whatever somebody has done to it since, unless it is live again.
func (s *stride) look(ctx context.Context) error {
	o := s.o
	if o.Flying == 0 {
		return nil
	}
	found, n, looked := fates{}, 0, o.ledger.Looked
	err := s.q.Query(ctx, s.store.SQL.TargetsFlying, []any{o.seq, looked, operationLook}, func(r Row) error {
		var live int
		var dead bool
		err := r.Scan(&looked, &live, &dead)
		n++
		switch {
		case live == inHand:
			s.done.InHand++
		case live > 0:
		case dead:
			found.add(targetFailed, looked)
			o.note(false)
		default:
			found.add(targetDone, looked)
			o.note(true)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.done.Found = len(found[targetDone]) + len(found[targetFailed])
	s.done.More = n == operationLook
	if o.ledger.Looked = looked; n < operationLook { // at the end: begin anew
		o.ledger.Looked = 0
	}
	return s.mark(ctx, found)
}

// mark writes down what has become of letters. Of those that are put back now, what dies
// again is a letter with a number above the highest that there is.
func (s *stride) mark(ctx context.Context, found fates) error {
	for state, letters := range found {
		if len(letters) == 0 {
			continue
		}
		args := append([]any{int(state), s.last, s.o.seq}, letters...)
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

// move lets the next n letters have their turn.
func (s *stride) move(ctx context.Context, n int) error {
	var next []int64
	err := s.q.Query(ctx, s.store.SQL.TargetsNext, []any{s.o.seq, n}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		next = append(next, seq)
		return err
	})
	if mutant.OperationInTwo && s.o.Action == ActionRetry {
		next = s.turn.ahead
	}
	if err != nil || len(next) == 0 {
		return err
	}
	err = s.q.Query(ctx, s.store.SQL.LetterLast, nil, func(r Row) error { return r.Scan(&s.last) })
	if err != nil {
		return err
	}
	found := fates{}
	if s.turn.skip {
		found.add(targetRefused, next[0])
	} else if found, err = s.change(ctx, next); err != nil {
		return err
	}
	failpoint.Pass(failpoint.MidOperation)
	s.count(found)
	return s.mark(ctx, found)
}

// count adds letters that had their turn to what the operation shows.
func (s *stride) count(found fates) {
	o, now := s.o, s.o.Now.UnixMilli()
	for _, letters := range found {
		s.done.Moved += len(letters)
	}
	o.Done += len(found[targetDone])
	o.Flying += len(found[targetFlying])
	o.Gone += len(found[targetGone])
	o.Refused += len(found[targetRefused])
	o.Canaries.Tried += len(found[targetFlying])
	o.pay(now, len(found[targetFlying])+len(found[targetDone]))
	s.done.More = s.done.More || o.allowed(now) > 0
}

// change locks letters and changes them, and says what has become of each. It leaves
// some out if they are too large for one transaction.
func (s *stride) change(ctx context.Context, next []int64) (fates, error) {
	locked, err := s.lock(ctx, next)
	if err != nil {
		return nil, err
	}
	found, taken, size := fates{}, map[string]bool{}, int64(0)
	var ls []Letter
	for _, seq := range next {
		l, ok := locked[seq]
		switch {
		case !ok, l.discarded != s.o.Filter.Discarded:
			found.add(targetGone, seq)
		case taken[l.ID] || len(ls) > 0 && size+l.size > operationBytes: // two of one id cannot both be live, or dead
		default:
			taken[l.ID] = true
			size += l.size
			ls = append(ls, l.Letter)
		}
	}
	if len(ls) == 0 {
		return found, nil
	}
	return found, bulkOf(s.o.Action)(s.store, ctx, s.q, bulk{s.o, ls, found, s.turn.Edit})
}

// A lockedLetter is a letter that nobody else can change now: its number, its id, and
// what decides about its turn.
type lockedLetter struct {
	Letter
	discarded bool
	size      int64 // of the body
}

func (s *stride) lock(ctx context.Context, seqs []int64) (map[int64]lockedLetter, error) {
	out := make(map[int64]lockedLetter, len(seqs))
	args := make([]any, len(seqs))
	for i, seq := range seqs {
		args[i] = seq
	}
	stmt := s.store.SQL.LetterLock + list(len(seqs)) + " order by seq" + s.store.SQL.Lock
	return out, s.q.Query(ctx, stmt, args, func(r Row) error {
		var l lockedLetter
		err := r.Scan(&l.Seq, &l.ID, &l.discarded, &l.size)
		out[l.Seq] = l
		return err
	})
}
