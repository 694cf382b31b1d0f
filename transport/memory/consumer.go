package memory

import (
	"context"
	"fmt"
	"slices"
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
	if c.sub.Suspects {
		t.shelf.KeepSuspects(now, c.sub.Queues...)
		limit = 1
	}
	t.advance(now)
	for _, turn := range c.turns.Plan(limit, now) {
		most := min(turn.Limit, limit-len(ds))
		if most <= 0 {
			break
		}
		got := t.shelf.Claim(now, c.sub, c.sub.Queues[turn.Queue], most)
		c.turns.Took(turn.Queue, most, len(got), now)
		ds = append(ds, got...)
	}
	slices.SortStableFunc(ds, func(a, b driver.Delivery) int {
		return slices.Index(c.sub.Queues, a.Queue) - slices.Index(c.sub.Queues, b.Queue)
	})
	return ds, t.next(), nil
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
	return c.each(ctx, ds, func(i int, now time.Time) bool {
		return c.transport.shelf.Settle(now, c.sub.Suspects, ss[i])
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

// Extend renews leases.
func (c *consumer) Extend(ctx context.Context, ds ...driver.Delivery) error {
	return c.each(ctx, ds, func(i int, now time.Time) bool {
		return c.transport.shelf.Extend(now, c.sub.Lease, ds[i].Token)
	})
}

// each calls do for the deliveries, and names those whose claim is lost. What it changes
// is seen by consumers when the transport's mutex is free again.
func (c *consumer) each(ctx context.Context, ds []driver.Delivery, do func(int, time.Time) (stood bool)) error {
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
		if !do(i, now) {
			lost = append(lost, d)
		}
	}
	t.wake() // what was given back may be due at once
	if len(lost) > 0 {
		return &driver.LeaseLostError{Lost: lost}
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
