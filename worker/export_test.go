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
