package store

import (
	"context"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
)

// Suspects counts the messages of some queues that are suspected of having killed
// their worker, and wait for somebody to run them alone. It is cheap where there
// are few.
func (s *Store) Suspects(ctx context.Context, queues []string) (n int64, err error) {
	if len(queues) == 0 {
		return 0, nil
	}
	stmt := s.SQL.Suspects + list(len(queues))
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, stmt, listed(queues), func(r Row) error { return r.Scan(&n) })
	})
	return n, s.explain("count suspects", err)
}

// Suspects wait for somebody who runs them alone, each in turn. Where nobody does,
// they become ready again when their time is over, with so many crashes that a worker
// handles them with nothing else in hand. Whoever runs suspects lets all those of
// its queues wait on from the moment when it asks for the next one: it has one hand.

// oldSuspects finds the suspects that are to be seen to.
func (c *consumer) oldSuspects(ctx context.Context, q Session, now int64) (old []int64, err error) {
	patience := c.store.opts.SuspectPatience
	if c.sub.Suspects {
		patience /= 2
	}
	err = q.Query(ctx, c.store.SQL.SuspectsOld, []any{now - patience.Milliseconds()}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		old = append(old, seq)
		return err
	})
	return old, err
}

// freeSuspects makes those ready whose time is over. It is compared again in the
// statement that changes the row.
func (c *consumer) freeSuspects(ctx context.Context, q Session, old []int64, now int64) error {
	if len(old) == 0 {
		return nil
	}
	if c.sub.Suspects {
		for _, queue := range c.sub.Queues {
			if _, err := q.Exec(ctx, c.store.SQL.SuspectKeep, now, queue); err != nil {
				return err
			}
		}
	}
	since, rows := now-c.store.opts.SuspectPatience.Milliseconds(), make([][]any, len(old))
	for i, seq := range old {
		rows[i] = []any{seq, since}
	}
	_, err := q.ExecMany(ctx, c.store.SQL.SuspectFree, rows)
	failpoint.Pass(failpoint.MidFree)
	c.store.behind.Add(1)
	if err != nil {
		return err
	}
	return c.store.cameBack(ctx, q, old...)
}

var _ driver.Reaper = (*Store)(nil)
