// Package worker runs handlers: it claims messages from a transport, runs
// their handlers, decides and settles, and stops gracefully.
//
// A message goes through five rooms, always forward: claim (claim.go), a slot
// that runs the slow part of its handler, the decision (process.go), the
// settlement (settle.go), and the observation (event.go).
package worker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/tap"
)

// The defaults of Options.
const (
	DefaultConcurrency  = 8
	DefaultPrefetch     = 2000
	DefaultLease        = 30 * time.Second
	DefaultDrainTimeout = 25 * time.Second
	DefaultRetention    = 30 * 24 * time.Hour
	DefaultMaxCrashes   = 5
	DefaultHeartbeat    = 5 * time.Second
)

// Limits end a worker, so that a fresh process takes its place. Zero fields set
// no limit. On reaching one, the worker takes no more, finishes what is in hand
// and returns.
type Limits struct {
	Messages int           // handled messages
	Failures int           // failed attempts
	Time     time.Duration // since the start
	Memory   int64         // resident bytes of the process
	Idle     time.Duration // without a message in hand
	// Jitter shortens Messages and Time by up to this part of them, by chance,
	// so that workers that were started together do not end together.
	Jitter float64
}

// Options are the settings of a Worker. Zero fields have documented defaults.
type Options struct {
	Queues       []string      // empty means posthorn.DefaultQueue; an earlier queue is served first
	Weights      []int         // of the queues, see driver.Subscription; empty: by their order
	Concurrency  int           // handlers that run at once; 0 means 8
	Prefetch     int           // most messages claimed beyond Concurrency (ADR 6); 0 means 2000, negative none
	Lease        time.Duration // of a claim; 0 means 30 s
	Renew        time.Duration // how often leases are renewed; 0 means a third of Lease
	DrainTimeout time.Duration // for handlers to finish when the worker stops; 0 means 25 s
	Limits       Limits
	Retry        posthorn.RetryPolicy            // of all queues
	QueueRetry   map[string]posthorn.RetryPolicy // of some queues
	Retention    time.Duration                   // of dead letters; 0 means 30 days
	MaxCrashes   int                             // crashes before a message is buried; 0 means 5
	Heartbeat    time.Duration                   // 0 means 5 s
	Program      string                          // the name in the registry
	Version      string                          // of the application, for the registry
	Dispatcher   *posthorn.Dispatcher            // for Tx.Dispatch; nil makes one without routes
	Log          *slog.Logger                    // nil means silence
	// Joined is called once, when the worker is in the registry and about to take
	// messages. It must return soon.
	Joined func()
	// Observe is told what happens, on a goroutine of its own. It cannot slow
	// handling down: when it does not keep up, events are dropped and counted.
	Observe func(Event)
	// Recorder is told which messages run user code, before it does; nil means that
	// nobody wants to know.
	Recorder Recorder
	// StuckLimit is how long a handler may run on after its deadline until the worker
	// ends, so that a fresh process takes its place; the message's attempt has failed
	// then. 0 means: the worker ends when no slot is left.
	StuckLimit time.Duration
	// Isolated makes a worker for the messages that are suspected of killing their
	// process: it handles one at a time, and no others. Concurrency and Prefetch do not
	// apply. A transport that keeps no suspects apart is refused.
	Isolated bool
}

// A Recorder notes which messages run user code, in a place that outlives the
// process, so that a crash is charged to none but those. It is called around each
// part of a handler, from many goroutines, and must be fast.
type Recorder interface {
	Enter(d driver.Delivery) (slot int)
	Leave(slot int)
}

// withDefaults fills in the documented defaults.
func (o Options) withDefaults() Options {
	if len(o.Queues) == 0 {
		o.Queues = []string{posthorn.DefaultQueue}
	}
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	o.Prefetch = max(cmp.Or(o.Prefetch, DefaultPrefetch), 0)
	if o.Isolated {
		o.Concurrency, o.Prefetch = 1, 0
	}
	o.Lease = cmp.Or(o.Lease, DefaultLease)
	o.Renew = cmp.Or(o.Renew, o.Lease/3)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, DefaultDrainTimeout)
	o.Retention = cmp.Or(o.Retention, DefaultRetention)
	o.MaxCrashes = cmp.Or(o.MaxCrashes, DefaultMaxCrashes)
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	if o.Joined == nil {
		o.Joined = func() {}
	}
	o.Log = tap.Logger(o.Log)
	return o
}

// check reports a setting that makes no sense.
func (o Options) check() error {
	switch {
	case o.Concurrency < 1:
		return fmt.Errorf("concurrency %d is below 1", o.Concurrency)
	case o.Lease < 100*time.Millisecond:
		return fmt.Errorf("lease %s is below 100ms", o.Lease)
	case o.Renew <= 0 || o.Renew > o.Lease/2:
		return fmt.Errorf("renewal every %s is too rare for a lease of %s", o.Renew, o.Lease)
	case o.DrainTimeout < 0 || o.Retention < 0 || o.Heartbeat < 0 || o.MaxCrashes < 0 || o.StuckLimit < 0:
		return errors.New("a duration or bound is negative")
	case o.Limits.Messages < 0 || o.Limits.Failures < 0 || o.Limits.Time < 0 || o.Limits.Memory < 0 ||
		o.Limits.Idle < 0:
		return errors.New("a limit is negative")
	case o.Limits.Jitter < 0 || o.Limits.Jitter >= 1:
		return fmt.Errorf("jitter %v of the limits is not within 0 … 1", o.Limits.Jitter)
	}
	if err := (driver.Subscription{Queues: o.Queues, Weights: o.Weights, Lease: o.Lease}).Check(); err != nil {
		return err
	}
	if err := o.Retry.Check(); err != nil {
		return err
	}
	for queue, p := range o.QueueRetry {
		if err := errors.Join(driver.CheckQueue(queue), p.Check()); err != nil {
			return fmt.Errorf("retry policy of queue %q: %w", queue, err)
		}
	}
	return nil
}
