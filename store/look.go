package store

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn/internal/ruling"
)

// A sight is what a look has shown.
type sight struct {
	ready []string // the queues that have ready messages, in the order of the subscription
	now   int64
	wake  sql.NullInt64 // when the next message becomes ready
}

// due reports whether messages have become ready that are not marked so.
func (s sight) due() bool { return s.wake.Valid && s.wake.Int64 <= s.now }

// look makes ready what has come due, and sees which of the queues have something.
func (c *consumer) look(ctx context.Context, queues []string) (sight, error) {
	seen, err := c.see(ctx, queues)
	if err != nil || !seen.due() {
		return seen, err
	}
	n, err := c.promote(ctx)
	if err != nil || n == 0 {
		return seen, err
	}
	c.store.behind.Add(1)
	return c.see(ctx, queues)
}

func (c *consumer) see(ctx context.Context, queues []string) (seen sight, err error) {
	c.looked = time.Now()
	if c.store.SQL.Look != "" {
		return c.seeAtOnce(ctx, queues)
	}
	err = c.store.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		seen = sight{}
		for _, queue := range queues {
			found := func(Row) error { seen.ready = append(seen.ready, queue); return nil }
			if err := q.Query(ctx, c.isReady(), []any{queue}, found); err != nil {
				return err
			}
		}
		if seen.now, err = q.Now(ctx); err != nil {
			return err
		}
		return q.Query(ctx, c.store.SQL.NextWake, nil, func(r Row) error { return r.Scan(&seen.wake) })
	})
	return seen, err
}

// isReady is a query whether a queue has messages for the consumer.
func (c *consumer) isReady() string {
	if c.sub.Suspects {
		return c.store.SQL.SuspectReady
	}
	return c.store.SQL.Ready
}

// seeAtOnce asks by one query, which has a column for each queue. Where the database keeps
// what was deleted, it looks from where claims begin.
func (c *consumer) seeAtOnce(ctx context.Context, queues []string) (seen sight, err error) {
	var (
		stmt  = c.store.SQL.Look
		args  []any
		from  = make([]approach, len(queues))
		there = make([]bool, len(queues))
	)
	for i, queue := range queues {
		cond, with := `exists(`+c.isReady()+`)`, []any{queue}
		if m := c.marks[queue]; m != nil {
			from[i] = m.use(c.store.opts.Poll, c.store.wholeShare, c.store.behind.Load())
			if !from[i].whole() {
				cond, with = c.store.ReadySince(queue, from[i].marks)
			}
		}
		stmt, args = stmt+`, `+cond, append(args, with...)
	}
	began := time.Now()
	err = c.store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		columns := []any{&seen.now, &seen.wake}
		for i := range there {
			columns = append(columns, &there[i])
		}
		return q.Query(ctx, stmt, args, func(r Row) error { return r.Scan(columns...) })
	})
	if err != nil {
		return seen, err
	}
	for i, queue := range queues {
		m := c.marks[queue]
		whole := m != nil && from[i].whole()
		if whole {
			m.cost = time.Since(began)
		}
		switch {
		case there[i]:
			seen.ready = append(seen.ready, queue)
		case whole:
			m.note(nil, 1, from[i])
		}
	}
	return seen, nil
}

// until is how long to wait at most after a look that has shown nothing.
func (c *consumer) until(seen sight) time.Duration {
	next := c.pace.After(time.Since(c.found))
	next += time.Duration(rand.Int64N(int64(next)/4 + 1)) // spread: a fleet does not poll in step
	if wait := seen.wake.Int64 - seen.now; seen.wake.Valid && wait > 0 {
		next = min(next, time.Duration(min(wait, next.Milliseconds()+1))*time.Millisecond)
	}
	return min(next, ruling.RescueEvery(c.sub.Lease))
}
