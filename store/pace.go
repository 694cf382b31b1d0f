package store

import "time"

// paceShare is the share of the time without a message that the next look
// waits: sixteen looks while that time grows by the factor e, whatever it is.
const paceShare = 16

// A Pace says how soon a consumer looks again when no hint comes. It looks often
// while messages come often, and seldom on a quiet night: what comes regularly
// waits for a small share of the time between two, and an idle consumer costs
// next to nothing.
type Pace struct {
	Fast time.Duration // the shortest pause
	Slow time.Duration // the longest pause
}

// After is the pause after a time without a message.
func (p Pace) After(quiet time.Duration) time.Duration {
	return min(max(quiet/paceShare, p.Fast), p.Slow)
}
