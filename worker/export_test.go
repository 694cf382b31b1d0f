package worker

import "github.com/posthorn/posthorn/driver"

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

// Settled counts messages that are done with.
func (p *Pace) Settled(n int) { p.settled(n) }

// Ahead is how many may be claimed ahead of the slots.
func (p *Pace) Ahead() int { return p.ahead(horizon) }
