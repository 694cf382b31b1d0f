// Package memory is a transport that keeps everything in memory: the reference
// implementation of the contract in package driver, and the double for tests
// of programs that use Posthorn.
//
// What it holds is lost with the process. Everything else is as with a durable
// transport: leases, fencing tokens, delays, priorities, dead letters. Beyond
// the contract a test can look into it with [Transport.Live] and
// [Transport.Dead].
//
// Its clock is package time's and it starts no goroutine, so in a bubble of
// testing/synctest delays and leases take no real time. The transport must be
// made inside the bubble then.
package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/share"
	"github.com/posthorn/posthorn/internal/shelf"
)

// A Letter is a dead letter: a message that was buried.
type Letter = shelf.Letter

// suspectPatience is how long a suspect waits for a consumer of suspects, before it is an
// ordinary message again.
const suspectPatience = time.Minute

// Options say what the transport lacks, so that a test can see how a program
// does with a poorer one. The zero value lacks nothing.
type Options struct {
	MaxBody     int  // the largest body in bytes; 0 means driver.MaxBody
	NoDelay     bool // Delay and NotBefore are refused at Send
	NoPriority  bool // a priority other than 0 is refused
	NoBury      bool // Bury is refused
	NoUniqueIDs bool // an id may be live more than once
	NoSuspects  bool // a consumer of suspects and ReleaseDead are refused
}

// A Transport is an open transport in memory. All its methods may be called
// concurrently. Only a consumer's Receive blocks.
type Transport struct {
	caps driver.Capabilities

	mu        sync.Mutex
	closed    bool
	shelf     *shelf.Shelf
	consumers map[*consumer]struct{}
}

// New returns an empty transport. The caller closes it.
func New(o Options) *Transport {
	if o.MaxBody == 0 {
		o.MaxBody = driver.MaxBody
	}
	return &Transport{
		caps: driver.Capabilities{
			Delay: !o.NoDelay, Priority: !o.NoPriority, Bury: !o.NoBury, UniqueIDs: !o.NoUniqueIDs,
			AttemptsLog: true, MaxBody: o.MaxBody, Durability: driver.Volatile, Suspects: !o.NoSuspects,
		},
		shelf:     shelf.New(!o.NoUniqueIDs),
		consumers: map[*consumer]struct{}{},
	}
}

// Capabilities says what the options left.
func (t *Transport) Capabilities() driver.Capabilities { return t.caps }

// Send accepts all the envelopes or none. It keeps copies. Errors:
// driver.ErrInvalid, ErrTooLarge, ErrUnsupported, ErrDuplicate, ErrClosed, or
// ctx's.
func (t *Transport) Send(ctx context.Context, envs ...driver.Envelope) error {
	for _, e := range envs {
		if err := driver.CheckSend(t.caps, e); err != nil {
			return fmt.Errorf("send %s: %w", e.Kind, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("send: %w", driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := t.shelf.Send(time.Now(), envs...); err != nil {
		return err
	}
	t.wake()
	return nil
}

// advance makes ready what has come due by now: delayed messages, claims whose lease has
// ended, which is a crash of their worker, and suspects that nobody runs. Every operation
// begins with it, so the clock alone decides who holds a message.
func (t *Transport) advance(now time.Time) {
	moved := t.shelf.Promote(now)
	moved = t.shelf.Rescue(now, t.shelf.Expired(now)...) > 0 || moved
	if t.shelf.FreeSuspects(now, now.Add(-suspectPatience)) || moved {
		t.wake()
	}
}

// next is when time alone may change something next; zero means never.
func (t *Transport) next() time.Time {
	next := t.shelf.Next()
	if since := t.shelf.OldestSuspect(); !since.IsZero() {
		if free := since.Add(suspectPatience); next.IsZero() || free.Before(next) {
			next = free
		}
	}
	return next
}

// wake hints all consumers that wait. It does not block.
func (t *Transport) wake() {
	for c := range t.consumers {
		select {
		case c.hint <- struct{}{}:
		default: // a hint is waiting already
		}
	}
}

// Consume opens a consumer. Errors: driver.ErrInvalid, ErrTooLarge, ErrUnsupported,
// ErrClosed.
func (t *Transport) Consume(_ context.Context, s driver.Subscription) (driver.Consumer, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	if s.Suspects && !t.caps.Suspects {
		return nil, fmt.Errorf("consume suspects: %w", driver.ErrUnsupported)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("consume: %w", driver.ErrClosed)
	}
	s.Queues = slices.Clone(s.Queues)
	c := &consumer{
		transport: t, sub: s, turns: share.New(len(s.Queues), s.Weights),
		hint: make(chan struct{}, 1), end: make(chan struct{}),
	}
	t.consumers[c] = struct{}{}
	return c, nil
}

// ReleaseDead gives back what a worker held that is known to be dead; see driver.Reaper.
// A test says so of a worker that it has stopped in the middle.
func (t *Transport) ReleaseDead(ctx context.Context, d driver.Death) (driver.Toll, error) {
	switch {
	case !t.caps.Suspects:
		return driver.Toll{}, fmt.Errorf("release dead worker: %w", driver.ErrUnsupported)
	case d.Worker == "":
		return driver.Toll{}, fmt.Errorf("release dead worker: %w: it has no id", driver.ErrInvalid)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return driver.Toll{}, err
	}
	now := time.Now()
	t.advance(now)
	toll := t.shelf.ReleaseDead(now, d)
	t.wake()
	return toll, nil
}

// Close ends the transport with all its consumers, and waits for calls under
// way. What it held can still be looked at with Live and Dead.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	consumers := slices.Collect(maps.Keys(t.consumers))
	t.mu.Unlock()
	for _, c := range consumers {
		_ = c.Close() // it returns nil
	}
	return nil
}

// Live returns copies of all messages that are not done and not dead, waiting,
// delayed or claimed, in the order in which they were accepted.
func (t *Transport) Live() []driver.Envelope {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shelf.Live()
}

// Dead returns copies of the dead letters in the order in which they were
// buried. They are kept until the process ends.
func (t *Transport) Dead() []Letter {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shelf.Dead()
}

var (
	_ driver.Transport = (*Transport)(nil)
	_ driver.Reaper    = (*Transport)(nil)
)
