package worker

import (
	"bytes"
	"fmt"
	"runtime"
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
		"message_id", p.d.ID, "kind", p.d.Kind, "worker", w.id, "stuck", n)
	w.events.put(Event{Delivery: p.d, Class: driver.ClassTimeout, Stuck: true, Worker: w.id})
	if int(n) >= w.opts.Concurrency {
		w.stop(ErrStuck)
	}
}

// An abandonedError is the end of an attempt whose handler did not return: the
// process ends without it. It counts as a timeout, or the message would come back for
// ever and end a process each time.
type abandonedError struct {
	after  time.Duration
	stacks string // where the handlers of the process are
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
	return &abandonedError{after: stuckGrace + time.Duration(w.clock()-since), stacks: handlerStacks()}
}

// maxDump bounds the dump of all goroutines.
const maxDump = 1 << 20

// handlerStacks is where the handlers of the process are. A stuck one is among few:
// the others have been waited for.
func handlerStacks() string {
	buf := make([]byte, maxDump)
	buf = buf[:runtime.Stack(buf, true)]
	var out [][]byte
	for stack := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("posthorn.(*Handler).")) || bytes.Contains(stack, []byte("posthorn.Effect.")) {
			out = append(out, bytes.TrimSpace(stack))
		}
	}
	return string(bytes.Join(out, []byte("\n\n")))
}
