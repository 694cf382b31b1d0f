package supervisor

import (
	"context"
	"sync/atomic"
	"time"
)

// untoldEvents bounds the events that wait for the observer.
const untoldEvents = 1024

// A teller tells the observer one event after the other. An observer that
// hangs holds up nobody for longer than a bounded time.
type teller struct {
	observe func(context.Context, Event)
	within  time.Duration // bounds each event
	queue   chan tale
	lost    atomic.Int64
}

// A tale is an event, and who waits until it has been told.
type tale struct {
	event Event
	told  chan struct{}
}

func newTeller(o Options) *teller {
	return &teller{observe: o.Observe, within: o.ObserveTimeout, queue: make(chan tale, untoldEvents)}
}

// run tells until the queue is closed.
func (t *teller) run(ctx context.Context) {
	for next := range t.queue {
		bounded, cancel := context.WithTimeout(ctx, t.within)
		t.observe(bounded, next.event)
		cancel()
		close(next.told)
	}
}

// tell hands an event over. The channel is closed when it has been told.
func (t *teller) tell(e Event) <-chan struct{} {
	told := make(chan struct{})
	select {
	case t.queue <- tale{e, told}:
	default:
		t.lost.Add(1)
		close(told)
	}
	return told
}

// await waits until an event has been told, for a bounded time.
func (t *teller) await(e Event) {
	over := time.NewTimer(t.within)
	defer over.Stop()
	select {
	case <-t.tell(e):
	case <-over.C:
	}
}
