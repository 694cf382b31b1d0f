package worker

import (
	"time"

	"github.com/posthorn/posthorn/driver"
)

// Ahead is how many messages a worker claims ahead that settles so many in a second, and
// has claimed these.
func Ahead(rate float64, claims ...[]driver.Delivery) int {
	p := pace{rate: rate}
	for _, ds := range claims {
		p.claimed(ds)
	}
	return p.ahead(horizon)
}

// A Pace is how many messages a worker settles in a second.
type Pace struct{ pace }

// Claimed says that the first messages were claimed.
func (p *Pace) Claimed() { p.claimed(make([]driver.Delivery, 1)) }

// Settled counts messages that are done with, of those in hand, each of which was there for a time.
func (p *Pace) Settled(n, held int, each time.Duration) { p.settled(n, held, time.Now().Add(-each)) }

// Ahead is how many may be claimed ahead of the slots.
func (p *Pace) Ahead() int { return p.ahead(horizon) }

// Lanes holds effects that wait for a transaction.
type Lanes struct{ lanes }

// NewLanes has none.
func NewLanes() *Lanes {
	l := &Lanes{}
	l.init()
	return l
}

// Put adds some.
func (l *Lanes) Put(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values = append(l.values, make([]*parcel, n)...)
	l.full.Broadcast()
}

// Next waits for some, and returns how many they are.
func (l *Lanes) Next(limit int) int { return len(l.next(limit)) }

// Back says that a lane has done what it took, an effect of some time.
func (l *Lanes) Back(took time.Duration) { l.back(1, took) }

// Close ends it.
func (l *Lanes) Close() { l.close() }
