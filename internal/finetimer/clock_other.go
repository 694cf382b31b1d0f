//go:build !linux

package finetimer

// newClock makes a plain clock: other systems' waits know nanoseconds.
func newClock(fire func()) clock { return newPlain(fire) }
