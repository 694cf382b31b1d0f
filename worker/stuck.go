package worker

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// unwatch ends the watch over a handler that returned, a stuck one's too.
func (w *Worker) unwatch(p *parcel) {
	if p.deadline.Swap(0) == pastDeadline {
		w.count.stuck.Add(-1)
		p.stuckSince.Store(0)
	}
}

// noteStuck accounts a handler that does not return. Its message stays claimed
// while this process lives: nobody can know what the handler still does. When no slot
// is left, the worker ends, so that a fresh process can take its place.
func (w *Worker) noteStuck(p *parcel) {
	n := w.count.stuck.Add(1)
	p.stuckSince.Store(max(w.clock(), 1))
	w.opts.Log.Warn("handler is stuck: it runs on after its deadline",
		append(named(p.d), "worker", w.id, "stuck", n)...)
	w.events.put(Event{Delivery: p.d, Class: driver.ClassTimeout, Stuck: true, Worker: w.id})
	if int(n) >= w.opts.Concurrency {
		w.stop(ErrStuck)
	}
}

// An abandonedError is the end of an attempt whose handler did not return: the
// process ends without it. It counts as a timeout, or the message would come back for
// ever and end a process each time.
type abandonedError struct {
	after time.Duration
	stack string // where the handler is
}

// Error says for how long it was waited.
func (e *abandonedError) Error() string {
	return fmt.Sprintf("handler did not return in %s after its context had ended", e.after.Round(time.Millisecond))
}

// Unwrap makes it a timeout.
func (e *abandonedError) Unwrap() error { return driver.ErrTimeout }

// abandoned is why the parcel of a handler that does not return ends with the
// worker: its own fault if it is stuck, else the worker was in a hurry.
func (w *Worker) abandoned(p *parcel) error {
	since := p.stuckSince.Load()
	if since == 0 {
		return driver.ErrShutdown
	}
	return &abandonedError{after: stuckGrace + time.Duration(w.clock()-since), stack: stackOf(p)}
}

// maxDump bounds the dump of all goroutines.
const maxDump = 1 << 20

// stackOf is where the parcel's handler is. The goroutine of a slow part is known by
// the parcel, which is among its arguments; that of an effect is one of few, since all
// that care for the end of their context have been waited for.
func stackOf(p *parcel) string {
	buf := make([]byte, maxDump)
	stacks := bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n"))
	marks := []string{fmt.Sprintf("%p", p), "posthorn.(*Handler).Start"}
	if p.effect != nil {
		marks = []string{"worker.(*Worker).commit."}
	}
	for _, mark := range marks {
		found := slices.DeleteFunc(slices.Clone(stacks), func(s []byte) bool { return !bytes.Contains(s, []byte(mark)) })
		if len(found) > 0 {
			return string(bytes.Join(found, []byte("\n\n")))
		}
	}
	return ""
}
