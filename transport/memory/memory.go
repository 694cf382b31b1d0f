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
)

// Options say what the transport lacks, so that a test can see how a program
// does with a poorer one. The zero value lacks nothing.
type Options struct {
	MaxBody     int  // the largest body in bytes; 0 means driver.MaxBody
	NoDelay     bool // Delay and NotBefore are refused at Send
	NoPriority  bool // a priority other than 0 is refused
	NoBury      bool // Bury is refused
	NoUniqueIDs bool // an id may be live more than once
}

// A Transport is an open transport in memory. All its methods may be called
// concurrently. Only a consumer's Receive blocks.
type Transport struct {
	caps driver.Capabilities

	mu        sync.Mutex
	closed    bool
	seq       uint64              // of the last message accepted
	claims    uint64              // made so far
	live      map[uint64]*message // by seq
	ids       map[string]int      // live messages with this id
	ready     map[string]*heap    // by queue: what can be claimed
	asleep    heap                // delayed or claimed: what time will move
	dead      []Letter
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
			AttemptsLog: true, MaxBody: o.MaxBody, Durability: driver.Volatile,
		},
		live:      map[uint64]*message{},
		ids:       map[string]int{},
		ready:     map[string]*heap{},
		asleep:    heap{less: wakesEarlier},
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
	if err := t.checkIDs(envs); err != nil {
		return err
	}
	now := time.Now()
	for _, e := range envs {
		t.accept(e, now)
	}
	t.wake()
	return nil
}

// checkIDs refuses an id that is live, or twice among the envelopes.
func (t *Transport) checkIDs(envs []driver.Envelope) error {
	if !t.caps.UniqueIDs {
		return nil
	}
	seen := make(map[string]bool, len(envs))
	for _, e := range envs {
		if seen[e.ID] || t.ids[e.ID] > 0 {
			return fmt.Errorf("send %s: %w: %s", e.Kind, driver.ErrDuplicate, e.ID)
		}
		seen[e.ID] = true
	}
	return nil
}

// accept makes a live message of a checked envelope.
func (t *Transport) accept(e driver.Envelope, now time.Time) {
	due := now
	switch {
	case e.Delay > 0:
		due = now.Add(e.Delay)
	case e.NotBefore.After(now):
		due = now.Add(e.NotBefore.Sub(now))
	}
	e = copyOf(e)
	e.SentAt, e.Delay = now.Round(0), 0
	t.seq++
	m := &message{env: e, seq: t.seq}
	t.live[m.seq] = m
	t.ids[e.ID]++
	t.wait(m, due, now)
}

// wait puts a message where it waits for its time, or for a consumer.
func (t *Transport) wait(m *message, due, now time.Time) {
	m.due, m.token, m.env.NotBefore = due, "", due.Round(0)
	if due.After(now) {
		m.wake = due
		t.asleep.push(m)
		return
	}
	t.offer(m)
}

// offer makes a message ready to be claimed.
func (t *Transport) offer(m *message) {
	h := t.ready[m.env.Queue]
	if h == nil {
		h = &heap{less: servedEarlier}
		t.ready[m.env.Queue] = h
	}
	h.push(m)
}

// advance makes ready what has come due by now: delayed messages, and claims
// whose lease has ended, which is a crash of their worker. Every operation
// begins with it, so the clock alone decides who holds a message.
func (t *Transport) advance(now time.Time) {
	moved := false
	for m := t.asleep.first(); m != nil && !m.wake.After(now); m = t.asleep.first() {
		t.asleep.remove(m)
		if m.token != "" {
			m.fellSilent(now)
		}
		t.offer(m)
		moved = true
	}
	if moved {
		t.wake()
	}
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

// forget ends a message that was claimed.
func (t *Transport) forget(m *message) {
	t.asleep.remove(m)
	delete(t.live, m.seq)
	if t.ids[m.env.ID]--; t.ids[m.env.ID] == 0 {
		delete(t.ids, m.env.ID)
	}
}

// Consume opens a consumer. Errors: driver.ErrInvalid, ErrTooLarge, ErrUnsupported,
// ErrClosed. Suspects are not supported: they outlive a process, and these messages
// do not.
func (t *Transport) Consume(_ context.Context, s driver.Subscription) (driver.Consumer, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	if s.Suspects {
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
	out := make([]driver.Envelope, 0, len(t.live))
	for _, seq := range slices.Sorted(maps.Keys(t.live)) {
		out = append(out, copyOf(t.live[seq].env))
	}
	return out
}

// Dead returns copies of the dead letters in the order in which they were
// buried. They are kept until the process ends.
func (t *Transport) Dead() []Letter {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.dead)
	for i := range out {
		out[i].Envelope = copyOf(out[i].Envelope)
		out[i].Attempts = slices.Clone(out[i].Attempts)
	}
	return out
}

// copyOf shares nothing with e that can be changed.
func copyOf(e driver.Envelope) driver.Envelope {
	e.Body, e.Header = slices.Clone(e.Body), maps.Clone(e.Header)
	return e
}

var _ driver.Transport = (*Transport)(nil)
