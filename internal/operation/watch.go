package operation

import "time"

// lookSoon is how soon an executor looks again at what is in flight, of which nothing was
// heard. The wait doubles up to the part of the lease after which it is renewed.
const (
	lookSoon = 50 * time.Millisecond
	looks    = 3 // in a lease, at least
)

// A Watch is how often an executor looks at an operation that it carries on.
type Watch struct {
	Lease time.Duration // of its turn
	idle  time.Duration // how long it waits where there is nothing to do
}

// After is how long to wait after a step: work where there is more to do at once, and else
// until it is worth a look, or the rate allows another letter, after wait.
func (w *Watch) After(seen Sight, wait, work time.Duration) time.Duration {
	if seen.Moved > 0 || seen.Found > 0 {
		w.idle = 0
	}
	if seen.More || seen.Moved > 0 {
		return work
	}
	w.idle = min(max(2*w.idle, lookSoon), w.Lease/looks)
	if wait > 0 {
		return min(w.idle, wait)
	}
	return w.idle
}

// Patience is how long to wait after a step while others go first, for so long as a rest.
func (w *Watch) Patience(seen Sight, rest time.Duration) time.Duration {
	if seen.Flying > 0 { // it may be in hand soon
		rest = min(rest, max(w.idle, lookSoon))
	}
	return min(rest, w.Lease/looks)
}
