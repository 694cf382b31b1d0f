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
