package store

import (
	"context"
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
	others sync.WaitGroup // what consumers run aside
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
	closed <-chan struct{}
	life   context.Context //nolint:containedctx // until closed
	end    context.CancelFunc
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
	life, end := context.WithCancel(context.Background())
	e := &ears{wake: make(chan struct{}, 1), closed: life.Done(), life: life, end: end}
	h.all[e] = struct{}{}
	return e, nil
}

// leave ends one consumer's listening.
func (h *hub) leave(e *ears) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, e)
	e.end()
}

// aside runs fn for a consumer, until its listening ends at the latest. It reports false where that
// has ended.
func (h *hub) aside(e *ears, fn func(ctx context.Context)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.life.Err() != nil {
		return false
	}
	h.others.Go(func() { fn(e.life) })
	return true
}

// hint is a hint for one consumer. It does not block.
func (e *ears) hint() {
	select {
	case e.wake <- struct{}{}:
	default: // a hint is waiting already
	}
}

// wake hints all consumers. It does not block.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := range h.all {
		e.hint()
	}
}

// close ends all listening, now and later, and waits for what runs aside.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for e := range h.all {
		e.end()
	}
	clear(h.all)
	h.mu.Unlock()
	h.others.Wait()
}
