package store

import (
	"errors"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// errGoexit: the handler ended its goroutine instead of returning.
var errGoexit = errors.New("handler called runtime.Goexit")

// A runner runs the effects of a group on one goroutine, which is left behind
// when an effect does not come back. It is not for concurrent use.
type runner struct {
	lane  *lane
	timer *time.Timer
}

// A lane is the goroutine of a runner.
type lane struct {
	calls   chan func() error
	results chan error // one place: the goroutine ends even when nobody waits
	ended   chan struct{}
	wg      sync.WaitGroup
}

// do runs fn and waits for it, at most for limit; zero means without end. After
// that it leaves fn to itself and returns a *driver.StuckError.
func (r *runner) do(fn func() error, limit time.Duration) error {
	if r.lane == nil {
		r.lane = newLane()
	}
	l := r.lane
	l.calls <- fn
	var late <-chan time.Time
	if limit > 0 {
		late = r.after(limit)
	}
	select {
	case err := <-l.results:
		return err
	case <-l.ended: // by Goexit
		r.lane = nil
		return errGoexit
	case <-late:
		r.lane = nil
		close(l.calls)
		return &driver.StuckError{After: limit, Done: l.ended}
	}
}

func (r *runner) after(d time.Duration) <-chan time.Time {
	if r.timer == nil {
		r.timer = time.NewTimer(d)
	} else {
		r.timer.Reset(d)
	}
	return r.timer.C
}

// close ends the goroutine and waits for it, unless it was left behind.
func (r *runner) close() {
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.lane != nil {
		close(r.lane.calls)
		r.lane.wg.Wait()
	}
}

func newLane() *lane {
	l := &lane{calls: make(chan func() error, 1), results: make(chan error, 1), ended: make(chan struct{})}
	l.wg.Go(func() {
		defer close(l.ended)
		for fn := range l.calls {
			l.results <- fn()
		}
	})
	return l
}
