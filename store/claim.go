package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
)

// claim takes deliveries from those of the consumer's queues that are named, each in
// its turn.
func (c *consumer) claim(ctx context.Context, queues []string, limit int) (out []driver.Delivery, err error) {
	for _, turn := range c.turns.Plan(limit, time.Now()) {
		queue, most := c.sub.Queues[turn.Queue], min(turn.Limit, limit-len(out))
		if most <= 0 {
			break
		}
		if !slices.Contains(queues, queue) { // it is empty, or paused: it saves nothing up
			c.turns.Took(turn.Queue, most, 0, time.Now())
			continue
		}
		ds, asked, err := c.claimQueue(ctx, queue, most)
		if out == nil {
			out = ds
		} else {
			out = append(out, ds...)
		}
		if err != nil && len(out) > 0 {
			_ = c.store.explain("receive", err) // that it is away; the next call meets the error, if it stays
			break
		}
		if err != nil {
			return nil, err
		}
		c.turns.Took(turn.Queue, asked, len(ds), time.Now())
		if asked < most && len(ds) == asked {
			break // there is more of it, which comes before that of the others
		}
	}
	if len(c.sub.Queues) > 1 {
		slices.SortStableFunc(out, func(a, b driver.Delivery) int {
			return slices.Index(c.sub.Queues, a.Queue) - slices.Index(c.sub.Queues, b.Queue)
		})
	}
	return out, nil
}

// list is a list of n parameters.
func list(n int) string { return " (?" + strings.Repeat(", ?", n-1) + ")" }

// listed are the values of a list, as a statement takes them.
func listed[T any](vs []T) []any {
	out := make([]any, len(vs))
	for i, v := range vs {
		out[i] = v
	}
	return out
}

// promote makes ready the delayed messages that have come due. The time is compared
// again in the statement that changes the row.
func (c *consumer) promote(ctx context.Context) (n int, err error) {
	err = c.store.write(ctx, func(ctx context.Context, q Session) error {
		began := time.Now()
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		var (
			due [][]any
			old []int64 // has been due for a while
		)
		err = q.Query(ctx, c.store.SQL.Later, []any{now}, func(r Row) error {
			var seq, since int64
			err := r.Scan(&seq, &since)
			if due = append(due, []any{seq, now}); now-since > lineSlack/2 || time.Since(began) > lineSlack/2*time.Millisecond {
				old = append(old, seq)
			}
			return err
		})
		if n = len(due); err != nil || n == 0 {
			return err
		}
		_, err = q.ExecMany(ctx, c.store.SQL.Promote, due)
		failpoint.Pass(failpoint.MidPromote)
		if err != nil {
			return err
		}
		return c.store.cameBack(ctx, q, old...)
	})
	return n, err
}

// sortClaim restores the order that "returning" does not promise, and mostly keeps.
func sortClaim(ds []driver.Delivery) {
	for i := 1; i < len(ds); i++ {
		if inTurn(&ds[i-1], &ds[i]) > 0 {
			slices.SortStableFunc(ds, func(a, b driver.Delivery) int { return inTurn(&a, &b) })
			return
		}
	}
}

// inTurn compares deliveries by the order in which they are handled.
func inTurn(a, b *driver.Delivery) int {
	if first := cmp.Or(cmp.Compare(b.Priority, a.Priority), a.NotBefore.Compare(b.NotBefore)); first != 0 {
		return first
	}
	return cmp.Compare(seqOf(a.Token), seqOf(b.Token))
}
