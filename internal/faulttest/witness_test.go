package faulttest_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// A witness remembers what the workers did while the store was away. It is
// their logger, too.
type witness struct {
	t *testing.T

	mu       sync.Mutex
	starts   int                    // of handlers
	inside   int                    // handlers that run
	begun    map[int]int            // starts by message
	crashes  int                    // the most that one message was charged with
	classes  map[driver.Class]int   // ends of attempts
	receives int                    // calls of Receive that failed
	lines    map[string]int         // of the log, by message
	forced   map[string]int         // conflicts that handlers met, by fate
	waiting  map[chan struct{}]bool // who wants to hear of the next message that is done
}

func newWitness(t *testing.T) *witness {
	return &witness{
		t: t, begun: map[int]int{}, classes: map[driver.Class]int{}, lines: map[string]int{},
		forced:  map[string]int{},
		waiting: map[chan struct{}]bool{},
	}
}

// start is told of each start of a handler. Only a message that failed on
// purpose may have an attempt behind it.
func (w *witness) start(d driver.Delivery, p plan) (nth int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	w.inside++
	w.begun[p.N]++
	w.crashes = max(w.crashes, d.Crashes)
	spent := 0
	if p.Fate == failOnce {
		spent = 1
	}
	if d.Attempt > spent {
		w.t.Errorf("message %d, to be %s, starts with %d attempts spent", p.N, p.Fate, d.Attempt)
	}
	return w.begun[p.N]
}

// leave is told of each end of a handler.
func (w *witness) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside--
}

// quiet reports whether no handler runs.
func (w *witness) quiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inside == 0
}

// met is told of a conflict.
func (w *witness) met(fate string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forced[fate]++
}

// conflicts is how often handlers met one.
func (w *witness) conflicts(fate string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forced[fate]
}

// goesAway is what a worker says when its store does not answer.
const goesAway = "transport is away: waiting for it"

// away is how often a worker said so.
func (w *witness) away() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines[goesAway]
}

// event is told of the end of each attempt.
func (w *witness) event(e worker.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.classes[e.Class]++
	switch e.Class {
	case driver.ClassDone:
		for c := range w.waiting {
			close(c)
		}
		clear(w.waiting)
	case driver.ClassReject, driver.ClassFailure, driver.ClassTransient, driver.ClassInterrupted, driver.ClassLeaseLost:
	default:
		w.t.Errorf("attempt at %s ended as %s: %v", e.Delivery.Body, e.Class, e.Err)
	}
}

// history is told of the attempts that the store has kept.
func (w *witness) history(class string, n int) {
	switch driver.Class(class) {
	case driver.ClassReject, driver.ClassTransient, driver.ClassCrash, driver.ClassLeaseLost:
	default:
		w.t.Errorf("%d attempts of class %s in the history of dead letters", n, class)
	}
}

// nextDone is closed at the next message that is done.
func (w *witness) nextDone() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	w.waiting[c] = true
	return c
}

// calm bounds what two workers may ask in vain for each time that the store is
// away: they wait longer and longer.
const calm = 60

// check asks whether the workers waited calmly.
func (w *witness) check(faults int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit := calm * (faults + 1); w.receives > limit {
		w.t.Errorf("workers asked %d times in vain, at most %d were calm", w.receives, limit)
	}
	if n, limit := w.lines[goesAway], calm*(faults+1)/4; n > limit {
		w.t.Errorf("the log says %d times that the transport is away, at most %d were calm", n, limit)
	}
}

// leftToLease is what a worker says when nobody could tell it what became of a
// commit.
const leftToLease = "outcome of a commit is unknown: left to its lease"

// checkTold asks whether the workers took for done what is done, and nothing
// else.
func (w *witness) checkTold(effects int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if told := w.classes[driver.ClassDone]; told > effects || told+w.lines[leftToLease] < effects {
		w.t.Errorf("workers took %d messages for done, %d are, and gave up asking %d times",
			told, effects, w.lines[leftToLease])
	}
}

// String is what the witness saw.
func (w *witness) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	again := 0
	for _, n := range w.begun {
		again += n - 1
	}
	return fmt.Sprintf("%d starts, %d of them again; most crashes %d; ends %v; %d receives in vain; log %v",
		w.starts, again, w.crashes, w.classes, w.receives, w.lines)
}

// Enabled makes a witness a slog.Handler.
func (w *witness) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle counts lines, and shows them when the test is verbose.
func (w *witness) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[r.Message]++
	return nil
}

// WithAttrs keeps nothing: only messages are counted.
func (w *witness) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup keeps nothing.
func (w *witness) WithGroup(string) slog.Handler { return w }

// watched is a store whose consumers are counted.
type watched struct {
	*store.Store
	seen *witness
}

// Consume opens a consumer that counts.
func (s watched) Consume(ctx context.Context, sub driver.Subscription) (driver.Consumer, error) {
	c, err := s.Store.Consume(ctx, sub)
	return counted{c, s.seen}, err
}

// counted is a consumer that counts what it asks in vain.
type counted struct {
	driver.Consumer
	seen *witness
}

// Receive counts its errors.
func (c counted) Receive(ctx context.Context, limit int) ([]driver.Delivery, error) {
	ds, err := c.Consumer.Receive(ctx, limit)
	if err != nil && ctx.Err() == nil {
		c.seen.mu.Lock()
		defer c.seen.mu.Unlock()
		c.seen.receives++
	}
	return ds, err
}
