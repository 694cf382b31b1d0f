package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/share"
)

// A consumer receives from some queues. Its fields are guarded by the
// transport's mutex, but for those that never change.
type consumer struct {
	transport *Transport
	sub       driver.Subscription
	turns     *share.Schedule
	hint      chan struct{} // holds at most one: there may be something new
	end       chan struct{} // closed by Close
	closed    bool
	calls     sync.WaitGroup // Receives under way
}

// Receive blocks until there is a delivery.
func (c *consumer) Receive(ctx context.Context, limit int) ([]driver.Delivery, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.calls.Done()
	for {
		ds, next, err := c.claim(ctx, max(limit, 1))
		if err != nil || len(ds) > 0 {
			return ds, err
		}
		c.wait(ctx, next)
	}
}

// enter counts a call that Close has to wait for.
func (c *consumer) enter() error {
	c.transport.mu.Lock()
	defer c.transport.mu.Unlock()
	if c.closed {
		return fmt.Errorf("receive: %w", driver.ErrClosed)
	}
	c.calls.Add(1)
	return nil
}

// claim takes what is ready. When nothing is, next is when time alone may
// change that; zero means never.
func (c *consumer) claim(ctx context.Context, limit int) (ds []driver.Delivery, next time.Time, err error) {
	t := c.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.closed {
		return nil, next, fmt.Errorf("receive: %w", driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return nil, next, err
	}
	now := time.Now()
	t.advance(now)
	for _, turn := range c.turns.Plan(limit, now) {
		most, before := min(turn.Limit, limit-len(ds)), len(ds)
		if most <= 0 {
			break
		}
		h := t.ready[c.sub.Queues[turn.Queue]]
		for m := h.first(); m != nil && len(ds)-before < most; m = h.first() {
			h.remove(m)
			c.lease(m, now)
			ds = append(ds, m.delivery())
		}
		c.turns.Took(turn.Queue, most, len(ds)-before, now)
	}
	slices.SortStableFunc(ds, func(a, b driver.Delivery) int {
		return slices.Index(c.sub.Queues, a.Queue) - slices.Index(c.sub.Queues, b.Queue)
	})
	if first := t.asleep.first(); first != nil {
		next = first.wake
	}
	return ds, next, nil
}

// lease claims a message that is in no heap. Nobody has to learn of its end:
// what made the message ready has woken all who wait for it, and who looks too
// late for the message sees the lease.
func (c *consumer) lease(m *message, now time.Time) {
	t := c.transport
	t.claims++
	m.token = driver.Token(fmt.Sprintf("%d.%d", m.seq, t.claims))
	m.deliveries++
	m.worker, m.claimed, m.wake = c.sub.Worker, now, now.Add(c.sub.Lease)
	t.asleep.push(m)
}

// wait ends when there may be something new, or at next.
func (c *consumer) wait(ctx context.Context, next time.Time) {
	var due <-chan time.Time // blocks for ever when nothing will come due
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-c.hint:
	case <-due:
	case <-c.end:
	case <-ctx.Done():
	}
}

// Settle ends claims, all at one moment.
func (c *consumer) Settle(ctx context.Context, ss ...driver.Settlement) error {
	if err := c.check(ss); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	ds := make([]driver.Delivery, len(ss))
	for i, s := range ss {
		ds[i] = s.Delivery
	}
	return c.each(ctx, ds, func(i int, m *message, now time.Time) {
		c.transport.settle(m, ss[i], now)
	})
}

// check refuses what cannot be done, before anything is.
func (c *consumer) check(ss []driver.Settlement) error {
	for _, s := range ss {
		if s.Verdict > driver.Bury {
			return fmt.Errorf("%w: verdict %d", driver.ErrInvalid, s.Verdict)
		}
		if s.Verdict == driver.Bury && !c.transport.caps.Bury {
			return fmt.Errorf("bury: %w", driver.ErrUnsupported)
		}
		if s.Queue == "" {
			continue
		}
		if err := driver.CheckQueue(s.Queue); err != nil {
			return err
		}
	}
	return nil
}

// settle ends the claim of one message. What it changes is seen by consumers
// when the transport's mutex is free again.
func (t *Transport) settle(m *message, s driver.Settlement, now time.Time) {
	m.log(s.Attempt)
	switch s.Verdict {
	case driver.Ack:
		t.forget(m)
		return
	case driver.Bury:
		t.forget(m)
		t.dead = append(t.dead, m.letter(s.Reason, now))
		return
	case driver.Retry:
		m.env.Attempt++
	}
	t.asleep.remove(m)
	if s.Queue != "" {
		m.env.Queue = s.Queue
	}
	t.wait(m, now.Add(max(s.Delay, 0)), now)
	t.wake()
}

// Extend renews leases.
func (c *consumer) Extend(ctx context.Context, ds ...driver.Delivery) error {
	return c.each(ctx, ds, func(_ int, m *message, now time.Time) {
		c.transport.asleep.remove(m)
		m.wake = now.Add(c.sub.Lease)
		c.transport.asleep.push(m)
	})
}

// each calls do for the deliveries whose claim stands, and names the others.
func (c *consumer) each(ctx context.Context, ds []driver.Delivery, do func(int, *message, time.Time)) error {
	t := c.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.closed {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	t.advance(now)
	var lost []driver.Delivery
	for i, d := range ds {
		m := t.claimed(d.Token)
		if m == nil {
			lost = append(lost, d)
			continue
		}
		do(i, m, now)
	}
	if len(lost) > 0 {
		return &driver.LeaseLostError{Lost: lost}
	}
	return nil
}

// claimed finds the message that the token holds, or nil.
func (t *Transport) claimed(token driver.Token) *message {
	head, _, _ := strings.Cut(string(token), ".")
	seq, err := strconv.ParseUint(head, 10, 64)
	if err != nil {
		return nil
	}
	if m := t.live[seq]; m != nil && m.token == token {
		return m
	}
	return nil
}

// Close gives the consumer up, and waits for a Receive under way.
func (c *consumer) Close() error {
	t := c.transport
	t.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.end)
		delete(t.consumers, c)
	}
	t.mu.Unlock()
	c.calls.Wait()
	return nil
}

var _ driver.Consumer = (*consumer)(nil)
