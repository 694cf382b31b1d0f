package store

import (
	"errors"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// errGoexit: the handler ended its goroutine instead of returning.
var errGoexit = errors.New("handler called runtime.Goexit")

// A course is a row of calls of user code, one after the other.
type course interface {
	// next prepares the next call, and says for how long it may last, from when on; zero is
	// without end. At the end there is none.
	next() (c caller, limit time.Duration, from time.Time)
	// ended is told what came of it.
	ended(err error)
}

// A caller is one of a course's calls. One that was left behind goes on in a goroutine of its own, so it must
// touch nothing of the course.
type caller interface{ call() error }

// A runner runs courses on one goroutine, which is left behind when a call does not come
// back. Between the calls of a course nobody else is woken: to hand each over cost
// as much as a tenth of a small effect on SQLite (ADR 57). It is not for concurrent use.
type runner struct{ lane *lane }

// A lane is the goroutine of a runner.
type lane struct {
	courses chan course
	over    chan struct{} // a course is at its end; one place: the goroutine ends even when nobody waits
	ended   chan struct{}
	late    *time.Timer // it is to be looked whether a call has lasted for too long
	wg      sync.WaitGroup

	mu      sync.Mutex
	running bool          // a call
	limit   time.Duration // of it; 0: none
	until   time.Time     // when that is over
	alarm   time.Time     // what late is set to; zero: to nothing
	left    bool          // nobody waits for it any more
}

// run runs a course to its end. A call that lasts longer than it may is left to itself,
// and ends with a *driver.StuckError for its course.
func (r *runner) run(c course) {
	for r.leg(c) {
	}
}

// do is a course of one call.
func (r *runner) do(fn func() error, limit time.Duration) error {
	one := &single{fn: fn, limit: limit}
	r.run(one)
	return one.err
}

// leg runs a course as far as the lane comes, and reports whether it was left behind.
func (r *runner) leg(c course) (left bool) {
	if r.lane == nil {
		r.lane = newLane()
	}
	l := r.lane
	l.courses <- c
	for {
		select {
		case <-l.over:
			return false
		case <-l.ended: // by Goexit
			r.lane = nil
			l.late.Stop()
			c.ended(errGoexit)
			return true
		case <-l.late.C:
			if after, late := l.leave(); late {
				r.lane = nil
				close(l.courses)
				c.ended(&driver.StuckError{After: after, Done: l.ended})
				return true
			}
		}
	}
}

// close ends the goroutine and waits for it, unless it was left behind.
func (r *runner) close() {
	if r.lane != nil {
		close(r.lane.courses)
		r.lane.wg.Wait()
		r.lane.late.Stop()
	}
}

func newLane() *lane {
	l := &lane{
		courses: make(chan course, 1), over: make(chan struct{}, 1), ended: make(chan struct{}),
		late: time.NewTimer(time.Hour),
	}
	l.late.Stop()
	l.wg.Go(func() {
		defer close(l.ended)
		for c := range l.courses {
			if !l.walk(c) {
				return
			}
			l.over <- struct{}{}
		}
	})
	return l
}

// walk makes the calls of a course, until it is left behind.
func (l *lane) walk(c course) (whole bool) {
	for {
		next, limit, from := c.next()
		if next == nil {
			return true
		}
		l.begin(limit, from)
		err := next.call()
		if !l.end() {
			return false
		}
		c.ended(err)
	}
}

// begin notes a call. The alarm is mostly set already, for an earlier one.
func (l *lane) begin(limit time.Duration, from time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.limit = true, limit
	if limit > 0 {
		l.until = from.Add(limit)
		l.wake()
	}
}

// wake sets the alarm, if none comes before the call's end. The caller holds the lock.
func (l *lane) wake() {
	if l.alarm.IsZero() || l.until.Before(l.alarm) {
		l.alarm = l.until
		l.late.Reset(time.Until(l.until))
	}
}

// end notes that a call has come back, and reports whether somebody waits for it.
func (l *lane) end() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = false
	return !l.left
}

// leave leaves the call behind that has lasted for too long. Where none has, the alarm was
// one of an earlier call.
func (l *lane) leave() (after time.Duration, late bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm = time.Time{}
	switch {
	case !l.running || l.limit == 0:
	case time.Now().Before(l.until):
		l.wake()
	default:
		l.left = true
	}
	return l.limit, l.left
}

// A single is a course of one call.
type single struct {
	fn    func() error
	limit time.Duration
	begun bool
	err   error
}

// next is the call, once.
func (s *single) next() (c caller, limit time.Duration, from time.Time) {
	if s.begun {
		return nil, 0, from
	}
	s.begun = true
	return called(s.fn), s.limit, time.Now()
}

// ended keeps what came of it.
func (s *single) ended(err error) { s.err = err }

// A called is a call of a function.
type called func() error

func (c called) call() error { return c() }
