package store

import (
	"context"
	"time"
)

// How often a consumer looks for leases that ran out.
const (
	rescueEvery = time.Second
	rescueAll   = 60 // one look of so many sees all leases, the others only those that have run out since
)

// rescues is when a consumer looks for leases that ran out, which is a crash of
// the worker that held them.
type rescues struct {
	last    time.Time
	looks   int
	until   int64     // all leases up to here, by the store's clock, have been seen to
	trouble time.Time // when the store was last away
}

// every is how often to look: a lease that is short wants to be seen to soon.
func (r *rescues) every(lease time.Duration) time.Duration {
	return max(min(rescueEvery, lease/4), time.Millisecond)
}

func (r *rescues) due(lease time.Duration) bool { return time.Since(r.last) >= r.every(lease) }

// rescue makes ready the messages whose lease ran out. For a while after the store
// was away it spares them: whoever holds one could not renew it either.
func (c *consumer) rescue(ctx context.Context) error {
	r := &c.rescues
	if time.Since(r.trouble) < c.sub.Lease/2 {
		return nil
	}
	if r.looks++; r.looks%rescueAll == 0 {
		r.until = 0
	}
	r.last = time.Now()
	var (
		now   int64
		found int
	)
	err := c.store.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		found = 0
		if now, err = q.Now(ctx); err != nil {
			return err
		}
		return q.Query(ctx, c.store.SQL.Expired, []any{r.until, now}, func(row Row) error {
			found++
			return row.Scan(new(int64))
		})
	})
	if err != nil {
		return err
	}
	if found == 0 {
		r.until = now
		return nil
	}
	r.last = time.Time{} // there may be more
	return c.store.write(ctx, func(ctx context.Context, q Session) error {
		_, err := c.store.rescue(ctx, q, r.until, now)
		return err
	})
}

// rescue makes ready the messages whose lease ran out in a time, and notes a crash
// for each. The time is compared again in the statement that changes the row, so a
// lease that was renewed is safe.
func (s *Store) rescue(ctx context.Context, q Session, after, until int64) (n int, err error) {
	var due, crashed [][]any
	err = q.Query(ctx, s.SQL.Expired+s.SQL.SkipLocked, []any{after, until}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		due, crashed = append(due, []any{seq, until}), append(crashed, []any{seq})
		return err
	})
	if n = len(due); err != nil || n == 0 {
		return 0, err
	}
	if _, err := q.ExecMany(ctx, s.SQL.Crashed, crashed); err != nil {
		return 0, err
	}
	_, err = q.ExecMany(ctx, s.SQL.Promote, due)
	s.behind.Add(1)
	return n, err
}
