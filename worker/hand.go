package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// An item is a delivery on its way through the worker.
type item struct {
	d       driver.Delivery
	handler *posthorn.Handler
	ctx     context.Context //nolint:containedctx // the delivery's own: it ends with the lease
	cancel  context.CancelCauseFunc
	effect  posthorn.Effect

	begun    time.Time     // when the handler was entered
	ran      time.Duration // how long it ran, both parts together
	deadline atomic.Int64  // when the running part counts as stuck, by Worker.clock; 0: nothing runs
	leaseEnd atomic.Int64  // by Worker.clock, with a margin
	left     atomic.Bool   // somebody has taken over its end
	stuck    atomic.Bool

	outcome    posthorn.Outcome
	settlement driver.Settlement
	err        error
}

// leave claims the right to end the item. Only one caller gets it.
func (it *item) leave() bool { return it.left.CompareAndSwap(false, true) }

// A hand is the set of items that a worker holds.
type hand struct {
	mu    sync.Mutex
	items map[driver.Token]*item
	empty *sync.Cond
	freed chan struct{} // a hint that there is room
}

func newHand() *hand {
	h := &hand{items: map[driver.Token]*item{}, freed: make(chan struct{}, 1)}
	h.empty = sync.NewCond(&h.mu)
	return h
}

func (h *hand) add(its []*item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range its {
		h.items[it.d.Token] = it
	}
}

func (h *hand) remove(its []*item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range its {
		delete(h.items, it.d.Token)
	}
	if len(h.items) == 0 {
		h.empty.Broadcast()
	}
	select {
	case h.freed <- struct{}{}:
	default:
	}
}

func (h *hand) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.items)
}

func (h *hand) all() []*item {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*item, 0, len(h.items))
	for _, it := range h.items {
		out = append(out, it)
	}
	return out
}

// wait blocks until the hand is empty.
func (h *hand) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.items) > 0 {
		h.empty.Wait()
	}
}

// A mailbox collects what one goroutine takes in batches. What it holds is
// bounded by what the worker may have in hand.
type mailbox[T any] struct {
	mu     sync.Mutex
	full   *sync.Cond
	values []T
	closed bool
}

func (m *mailbox[T]) init() { m.full = sync.NewCond(&m.mu) }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values = append(m.values, v)
	m.full.Signal()
}

// take waits for something and returns at most limit of it. It returns nothing
// once the mailbox is closed and empty.
func (m *mailbox[T]) take(limit int) []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.values) == 0 && !m.closed {
		m.full.Wait()
	}
	n := min(limit, len(m.values))
	out := m.values[:n:n]
	m.values = m.values[n:]
	return out
}

func (m *mailbox[T]) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.full.Broadcast()
}
