package worker

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// memoryEvery is how often the resident memory is read.
const memoryEvery = time.Second

// jittered shortens the limits of messages and time by chance.
func (l Limits) jittered() Limits {
	if l.Jitter > 0 {
		part := 1 - l.Jitter*rand.Float64()
		l.Messages = int(math.Ceil(float64(l.Messages) * part))
		l.Time = time.Duration(float64(l.Time) * part)
	}
	return l
}

// watchLimits stops the worker when one of its limits is reached.
func (w *Worker) watchLimits(ctx context.Context) {
	limits := w.opts.Limits
	var over <-chan time.Time
	if limits.Time > 0 {
		timer := time.NewTimer(limits.Time - time.Since(w.started))
		defer timer.Stop()
		over = timer.C
	}
	idle := time.Now()
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			w.stop(fmt.Errorf("%w: time %s", ErrLimit, w.opts.Limits.Time))
		case <-ticker.C:
			if w.hand.len() > 0 {
				idle = time.Now()
			}
			w.checkIdle(time.Since(idle))
			w.checkMemory()
		case <-ctx.Done():
			return
		}
	}
}

// checkIdle stops the worker when it had nothing in hand for long enough.
func (w *Worker) checkIdle(d time.Duration) {
	if limit := w.opts.Limits.Idle; limit > 0 && d >= limit {
		w.stop(fmt.Errorf("%w: idle for %s", ErrLimit, limit))
	}
}

// checkMemory stops the worker when its process has grown too large.
func (w *Worker) checkMemory() {
	limit := w.opts.Limits.Memory
	if limit == 0 {
		return
	}
	if rss := ResidentMemory(); rss > limit {
		w.stop(fmt.Errorf("%w: memory %d of %d bytes", ErrLimit, rss, limit))
	}
}

// checkHandled stops the worker when it has handled enough.
func (w *Worker) checkHandled() {
	if limit := w.opts.Limits.Messages; limit > 0 && w.count.handled.Load() >= int64(limit) {
		w.stop(fmt.Errorf("%w: %d messages", ErrLimit, limit))
	}
}

// checkFailures stops the worker when enough attempts have failed. It is asked
// with the verdict, not with its settlement: by then others would have begun.
func (w *Worker) checkFailures(class driver.Class) {
	if limit := w.opts.Limits.Failures; class.Counts() && limit > 0 && w.count.verdicts.Add(1) >= int64(limit) {
		w.stop(fmt.Errorf("%w: %d failures", ErrLimit, limit))
	}
}
