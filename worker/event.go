package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// An Event is what an observer is told: a message was settled, or its handler
// is stuck.
type Event struct {
	Worker   string
	Delivery driver.Delivery
	Class    driver.Class
	Verdict  driver.Verdict
	Reason   string        // of a dead letter
	Duration time.Duration // of the handler, both parts together
	Delay    time.Duration // until the next attempt
	Err      error
	Stuck    bool // the handler runs on after its deadline; nothing was settled
	// Waited is how long the message had been due when its handler was entered, by the
	// store's clock and this host's; 0 if it was not entered.
	Waited time.Duration
	// Dropped is how many events before this one were not told.
	Dropped int64
}

// maxEvents is how many events wait for the observer at most.
const maxEvents = 4096

// events pass what happens to the observer, on a goroutine of their own.
type events struct {
	observe func(Event)
	ring    chan Event
	dropped atomic.Int64
	once    sync.Once
}

func newEvents(observe func(Event)) *events {
	return &events{observe: observe, ring: make(chan Event, maxEvents)}
}

// put never blocks.
func (e *events) put(ev Event) {
	if e.observe == nil {
		return
	}
	select {
	case e.ring <- ev:
	default:
		e.dropped.Add(1)
	}
}

func (e *events) run() {
	for ev := range e.ring {
		ev.Dropped = e.dropped.Swap(0) // what was dropped found this one waiting, or a later one
		e.tell(ev)
	}
}

// tell keeps an observer's panic from ending the process.
func (e *events) tell(ev Event) {
	defer func() { _ = recover() }()
	e.observe(ev)
}

func (e *events) close() { e.once.Do(func() { close(e.ring) }) }
