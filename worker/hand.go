package worker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
)

// A parcel is a delivery on its way through the worker.
type parcel struct {
	d       driver.Delivery
	claimed time.Time
	handler *posthorn.Handler // nil: its kind is unknown here
	ctx     inhand.Context    // the delivery's own: it ends with the lease
	slow    inhand.Context    // of the slow part
	effect  posthorn.Effect

	begun    time.Time    // when the handler was entered
	ran      atomic.Int64 // how long it ran in nanoseconds, both parts together
	deadline atomic.Int64 // when the slow part counts as stuck, by Worker.clock; 0: it does not run; or pastDeadline
	leaseEnd atomic.Int64 // by Worker.clock, with a margin
	// stuckSince is when its handler was called stuck, by Worker.clock; 0: it is not.
	stuckSince atomic.Int64
	verdict    bool        // guarded by the hand: see hand.ending
	left       atomic.Bool // somebody has taken over its end

	outcome posthorn.Outcome
	line    *driver.Attempt // for its history
	err     error

	place int // in the hand; guarded by it
}

// pastDeadline as parcel.deadline: it is over, and the handler was called stuck.
const pastDeadline = -1

// leave claims the right to end the parcel. Only one caller gets it.
func (p *parcel) leave() bool { return p.left.CompareAndSwap(false, true) }

// waited is how long the message had been due when its handler was entered.
func (p *parcel) waited() time.Duration {
	if p.begun.IsZero() || p.d.NotBefore.IsZero() {
		return 0
	}
	return max(p.begun.Sub(p.d.NotBefore), 0)
}

// A hand is the set of parcels that a worker holds.
type hand struct {
	mu      sync.Mutex
	parcels []*parcel // in no order
	empty   *sync.Cond
	freed   chan struct{} // a hint that there is room
	// ending counts the parcels that have a verdict. They leave room for new
	// ones, so that a claim can share the commit that settles them.
	ending int
}

func newHand() *hand {
	h := &hand{freed: make(chan struct{}, 1)}
	h.empty = sync.NewCond(&h.mu)
	return h
}

func (h *hand) add(ps []*parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range ps {
		p.place = len(h.parcels) + i
	}
	h.parcels = append(h.parcels, ps...)
}

func (h *hand) remove(ps []*parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range ps {
		last := len(h.parcels) - 1
		h.parcels[p.place], h.parcels[last].place = h.parcels[last], p.place
		h.parcels[last] = nil
		h.parcels = h.parcels[:last]
		if p.verdict {
			h.ending--
		}
	}
	if len(h.parcels) == 0 {
		h.empty.Broadcast()
	}
	h.hint()
}

// end notes that the parcel has a verdict.
func (h *hand) end(p *parcel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.verdict = true
	h.ending++
	h.hint()
}

// hint says that there is room, or that less waits before it.
func (h *hand) hint() {
	select {
	case h.freed <- struct{}{}:
	default: // it was said already
	}
}

// busy is how many parcels have no verdict yet.
func (h *hand) busy() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parcels) - h.ending
}

func (h *hand) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.parcels)
}

func (h *hand) all() []*parcel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.parcels)
}

// wait blocks until the hand is empty.
func (h *hand) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.parcels) > 0 {
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
	return m.cut(limit)
}

// cut takes at most limit of what there is, under the lock.
func (m *mailbox[T]) cut(limit int) []T {
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
