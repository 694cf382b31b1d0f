package store

import "time"

// Bounded runs fn on a goroutine and waits for it, at most for limit; zero means without
// end. After that it leaves fn to itself and returns a *driver.StuckError. It outlives
// that fn ends its goroutine.
func Bounded(fn func() error, limit time.Duration) error {
	var r runner
	defer r.close()
	return r.do(fn, limit)
}
