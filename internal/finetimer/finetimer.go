// Package finetimer has timers that are as good for less than a millisecond as for more.
//
// Linux lets an idle Go process wait for its timers in epoll_wait(2), whose time is in
// whole milliseconds: a [time.Timer] of 0.3 ms fires after 1.1 ms. A timer of the
// kernel's own, timerfd_create(2), ends that wait at its time.
package finetimer

import "time"

// A Timer fires after a time. It may fire too early, by a fire that Stop came too late
// for: whoever waits has to look whether it is time, or not to mind. Its methods are
// not for concurrent use.
type Timer struct {
	C     <-chan struct{} // has something once the time is over
	clock clock
}

// A clock is what a Timer is made of.
type clock interface {
	set(d time.Duration) // 0: never
	close()
}

// New makes a Timer, which fires when Reset has been called. It is to be closed.
func New() *Timer {
	fired := make(chan struct{}, 1)
	return &Timer{C: fired, clock: newClock(func() {
		select {
		case fired <- struct{}{}:
		default:
		}
	})}
}

// Reset lets the timer fire once, after d, which is at least a nanosecond.
func (t *Timer) Reset(d time.Duration) {
	t.drain()
	t.clock.set(max(d, 1))
}

// Stop keeps the timer from firing.
func (t *Timer) Stop() {
	t.clock.set(0)
	t.drain()
}

// Close frees the timer, which does not fire any more.
func (t *Timer) Close() { t.clock.close() }

func (t *Timer) drain() {
	select {
	case <-t.C:
	default:
	}
}

// A plain clock is the runtime's.
type plain struct{ timer *time.Timer }

func newPlain(fire func()) clock {
	timer := time.AfterFunc(time.Hour, fire)
	timer.Stop()
	return plain{timer}
}

func (p plain) set(d time.Duration) {
	if d == 0 {
		p.timer.Stop()
		return
	}
	p.timer.Reset(d)
}

func (p plain) close() { p.timer.Stop() }
