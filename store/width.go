package store

import (
	"sync/atomic"
	"time"
)

// A width is how many units are settled together. It grows while effects succeed,
// and shrinks when one fails, since then its neighbours have run in vain. And it has an
// eye on the time that effects take: none can be left out once it is settled. It is
// safe for concurrent use.
type width struct {
	n    atomic.Int32
	each atomic.Int64 // nanoseconds that an effect took lately, with its share of all else
}

// DefaultSpan is how many units are settled together at most, and firstSpan how many
// are while nothing is known.
const (
	DefaultSpan = 256
	firstSpan   = 8
)

// get is the width now for a time: at least 1 and at most limit.
func (w *width) get(limit int, left time.Duration) int {
	w.n.CompareAndSwap(0, firstSpan)
	n := min(int(w.n.Load()), limit)
	if each := w.each.Load(); each > 0 {
		n = min(n, int(int64(left)/each))
	}
	return max(1, n)
}

// took notes that n effects took a time.
func (w *width) took(d time.Duration, n int) {
	each := int64(d) / int64(max(n, 1))
	if old := w.each.Load(); old > 0 && each < old { // slower ones are believed at once
		each = (3*old + each) / 4
	}
	w.each.Store(max(each, 1))
}

// widen notes that a span has succeeded.
func (w *width) widen() {
	if n := w.n.Load(); n < DefaultSpan {
		w.n.CompareAndSwap(n, n+1+n/8)
	}
}

// narrow notes that a span has failed.
func (w *width) narrow() {
	n := w.n.Load()
	w.n.CompareAndSwap(n, max(1, n/4))
}
