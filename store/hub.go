package store

import (
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/driver"
)

// A hub passes hints on to the consumers that wait. Hints may be lost or come
// for nothing: a consumer looks again by itself.
type hub struct {
	mu     sync.Mutex
	closed bool
	all    map[*ears]struct{}
	expect Expectation
}

// An Expectation says whether anybody would look if there was a hint. An engine that has
// to work for its hints may save that while nobody would. It is safe for concurrent use.
type Expectation struct {
	waiting atomic.Int32
	begun   chan struct{}
	anybody chan struct{} // closed as soon as there is a consumer
}

// Any reports whether somebody waits. It is true from before the look of which the
// result is waited for.
func (e *Expectation) Any() bool { return e.waiting.Load() > 0 }

// Begun has something when somebody has begun to wait.
func (e *Expectation) Begun() <-chan struct{} { return e.begun }

// Anybody is closed as soon as there has been a consumer: who only sends needs no hints.
func (e *Expectation) Anybody() <-chan struct{} { return e.anybody }

// begin notes one who waits, until done is called.
func (e *Expectation) begin() (done func()) {
	e.waiting.Add(1)
	select {
	case e.begun <- struct{}{}:
	default: // it was said already
	}
	return func() { e.waiting.Add(-1) }
}

// ears are what one consumer listens with.
type ears struct {
	wake   chan struct{} // holds at most one hint
	closed chan struct{}
	once   sync.Once
}

func (h *hub) listen() (*ears, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, driver.ErrClosed
	}
	if h.all == nil {
		h.all = map[*ears]struct{}{}
		close(h.expect.anybody)
	}
	e := &ears{wake: make(chan struct{}, 1), closed: make(chan struct{})}
	h.all[e] = struct{}{}
	return e, nil
}

// leave ends one consumer's listening.
func (h *hub) leave(e *ears) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, e)
	e.once.Do(func() { close(e.closed) })
}

// wake hints all consumers. It does not block.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.all {
		select {
		case e.wake <- struct{}{}:
		default: // a hint is waiting already
		}
	}
}

// close ends all listening, now and later.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for e := range h.all {
		e.once.Do(func() { close(e.closed) })
	}
	clear(h.all)
}
