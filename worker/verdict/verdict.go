// Package verdict is what a worker decides about the messages that it holds: whether one
// may be handled, and beside which others; what becomes of it when its handler has
// returned, or when its commit or its settlement failed; when its lease counts as over.
//
// It is pure: the worker carries it out, and so does the simulator's worker.
package verdict

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
)

// suspectAfter is the number of crashes after which a message is handled with
// nothing else in hand, so that it can hurt no neighbour. The first crash is
// anybody's: a deploy, a kill by hand.
const suspectAfter = 2

// patience is how often a suspect may be given back before others have to wait
// for it.
const patience = 10

// ErrCrashed: the message's workers died too often while they held it.
var ErrCrashed = errors.New("its worker died too often while holding it")

// Rules are what a worker's decisions depend on.
type Rules struct {
	MaxCrashes int  // after so many a message is buried unhandled
	Isolated   bool // the worker handles nothing but suspects, one at a time
}

// Admit refuses a message that has killed its worker too often, and one for whose kind
// there is no handler.
func (r Rules) Admit(d driver.Delivery, known bool) error {
	switch {
	case d.Crashes >= r.MaxCrashes:
		return ErrCrashed
	case !known:
		return fmt.Errorf("%w: %s", posthorn.ErrUnknownKind, d.Kind)
	}
	return nil
}

// A Sorting says what is to be done with deliveries that were received together, each
// given by its index, and when the worker claims again.
type Sorting struct {
	Begin []int
	Back  []int // they go back before they have begun
	Alone int   // it is begun when nothing else is in hand, and Next is Single; Nobody: there is none
	Next  Next
}

// Nobody as Sorting.Alone.
const Nobody = -1

// A Next is how a worker claims the next time.
type Next uint8

// The ways to claim.
const (
	AtOnce  Next = iota // as many as there is room for
	Emptied             // as many, but not before nothing is in hand
	Single              // one, and not before nothing is in hand
)

// Sort keeps suspects apart from the others. They go back while there are others to
// handle, since a crash would be noted against all that is in hand; where there is nothing
// else, one by one is claimed. Idle means that nothing is in hand beside them. For a suspect
// that was passed over too often the worker makes room: it claims nothing more until its hand
// is empty. The suspect goes back meanwhile, too: kept, it would be charged with the deaths
// that those cause who still run.
func (r Rules) Sort(ds []driver.Delivery, idle bool) Sorting {
	s := Sorting{Alone: Nobody}
	overdue := Nobody
	for i, d := range ds {
		if r.Isolated || !r.suspects(d) {
			s.Begin = append(s.Begin, i)
			continue
		}
		s.Back = append(s.Back, i)
		if overdue == Nobody && (len(ds) == 1 && idle || passedOver(d)) {
			overdue = i
		}
	}
	switch {
	case overdue != Nobody && idle:
		return alone(overdue, len(ds))
	case overdue != Nobody:
		s.Next = Emptied
	case len(s.Begin) == 0:
		s.Next = Single
	}
	return s
}

// suspects reports whether the message may have killed its workers, and is to be handled.
func (r Rules) suspects(d driver.Delivery) bool {
	return d.Crashes >= suspectAfter && d.Crashes < r.MaxCrashes
}

// passedOver reports whether it was given back too often before it had begun.
func passedOver(d driver.Delivery) bool { return d.Deliveries-d.Attempt-d.Crashes > patience }

// alone begins one of n when the others are back.
func alone(one, n int) Sorting {
	s := Sorting{Alone: one, Next: Single}
	for i := range n {
		if i != one {
			s.Back = append(s.Back, i)
		}
	}
	return s
}

// Decide says what becomes of a message whose handler ended with err at now, or that was
// not admitted for it.
func Decide(policy posthorn.RetryPolicy, d driver.Delivery, err error, now time.Time) posthorn.Outcome {
	if errors.Is(err, ErrCrashed) {
		return posthorn.Outcome{Verdict: driver.Bury, Class: driver.ClassCrash, Reason: driver.ReasonCrashed}
	}
	if mutant.AckOnPanic && posthorn.ClassOf(err) == driver.ClassPanic {
		err = nil
	}
	return policy.Decide(d, err, now)
}

// Settlement carries an outcome to the transport, with a line for the history.
func Settlement(d driver.Delivery, out posthorn.Outcome, line *driver.Attempt) driver.Settlement {
	return driver.Settlement{
		Delivery: d, Verdict: out.Verdict, Delay: out.Delay, Reason: out.Reason, Attempt: line,
	}
}

// Noted reports whether an attempt that ended so has a line in the message's history.
func Noted(class driver.Class) bool {
	switch class {
	case driver.ClassDone, driver.ClassInterrupted, driver.ClassSnooze, driver.ClassLeaseLost:
		return false
	}
	return true
}

// A Course is how a worker goes on with a unit that was not committed.
type Course uint8

// The courses.
const (
	Finish Course = iota // decide about it by its error
	Strand               // its effect is still running: wait for it, and keep the claim
	LetGo                // nobody knows whether it was committed: its lease decides
	Wait                 // the store is away: commit it again later, the slow part need not run again
)

// An effectError is what an effect returned, as opposed to a fault of the store
// on the way to it.
type effectError struct{ err error }

// Error is the effect's own text.
func (e *effectError) Error() string { return e.err.Error() }

// Unwrap returns the effect's error.
func (e *effectError) Unwrap() error { return e.err }

// Own marks the error that an effect returned as its own; nil stays nil.
func Own(err error) error {
	if err == nil {
		return nil
	}
	return &effectError{err}
}

// Uncommitted says how to go on with a unit that failed with err; it returns the error to
// decide by. An effect that says by itself that something is away makes nobody wait. Alive
// means that neither the unit's context nor the worker's has ended.
func Uncommitted(err error, alive bool) (Course, error) {
	var (
		stuck  *driver.StuckError
		own    *effectError
		queued *driver.QueuedError
	)
	switch {
	case errors.As(err, &stuck):
		return Strand, err
	case errors.As(err, &own):
		if !errors.Is(err, driver.ErrUnavailable) {
			err = own.err
		}
	case errors.As(err, &queued): // the unit's own, too
	case errors.Is(err, driver.ErrOutcomeUnknown):
		return LetGo, err
	case errors.Is(err, driver.ErrUnavailable) && alive:
		return Wait, err
	}
	return Finish, err
}

// A Return is how a worker goes on after it has settled.
type Return uint8

// The ways to go on.
const (
	Release Return = iota // it is over: let go of what was settled, or of what cannot be
	Again                 // the transport is away: settle once more
	Singly                // it refuses one of them: settle each alone, that none holds up others
)

// Settled says how to go on after n settlements in one call that ended with err, other
// than lost leases. Away means that the transport is at fault, not the call.
func Settled(err error, away bool, n int) Return {
	switch {
	case err != nil && away:
		return Again
	case err != nil && n > 1:
		return Singly
	}
	return Release
}

// LeaseEnd is when a lease that was asked for at asked must count as over in the worker:
// before it is over in the store. Both are times of the worker's monotonic clock.
func LeaseEnd(asked, lease time.Duration) time.Duration { return asked + lease - lease/10 }

// Bounds of the pause while the transport is away.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
)

// Pause is how long to wait after so many faults of the transport in a row; chance, in
// [0, 1], spreads it over half of itself.
func Pause(faults int, chance float64) time.Duration {
	d := min(minPause<<min(faults, 10), maxPause)
	return d/2 + time.Duration(chance*float64(d-d/2))
}
