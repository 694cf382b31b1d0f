package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
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
		ds, err := c.claimQueue(ctx, queue, most)
		if err != nil && len(out) > 0 {
			break // the next call meets the error, if it stays
		}
		if err != nil {
			return nil, err
		}
		c.turns.Took(turn.Queue, most, len(ds), time.Now())
		out = append(out, ds...)
	}
	if len(c.sub.Queues) > 1 {
		slices.SortStableFunc(out, func(a, b driver.Delivery) int {
			return slices.Index(c.sub.Queues, a.Queue) - slices.Index(c.sub.Queues, b.Queue)
		})
	}
	return out, nil
}

// claimQueue takes deliveries from one queue.
func (c *consumer) claimQueue(ctx context.Context, queue string, limit int) (ds []driver.Delivery, err error) {
	t := &Take{
		Token: rand128(), Worker: c.sub.Worker, Lease: c.sub.Lease.Milliseconds(), Queue: queue, Limit: limit,
		Suspects: c.sub.Suspects,
	}
	var from approach
	m := c.marks[queue]
	if m != nil {
		if from, err = c.approach(ctx, queue); err != nil {
			return nil, err
		}
		t.Marks = from.marks
	}
	t.Begin = func() { ds = make([]driver.Delivery, 0, min(limit, 64)) }
	t.Row = func(r Row) error {
		d, err := scanClaim(r, t.Token)
		ds = append(ds, d)
		return err
	}
	began := time.Now()
	err = c.store.Engine.Write(ctx, &Write{Take: t})
	if errors.Is(err, driver.ErrOutcomeUnknown) {
		c.unsure = ds
	}
	if err != nil {
		return nil, err
	}
	sortClaim(ds)
	if m != nil {
		if from.whole() && c.store.ReadySince == nil { // else a look tells, without a commit
			m.cost = time.Since(began)
		}
		m.note(ds, limit, from)
	}
	return ds, nil
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

// scanClaim reads a row of Statements.Claim.
func scanClaim(r Row, token string) (driver.Delivery, error) {
	var (
		d         driver.Delivery
		seq       int64
		due, sent int64
		header    sql.NullString
	)
	err := r.Scan(&seq, &d.ID, &d.Kind, &d.Queue, &d.Priority, &d.Attempt, &d.Deliveries, &d.Crashes,
		&due, &sent, &header, &d.Body)
	if err != nil {
		return d, err
	}
	d.NotBefore, d.SentAt = fromMillis(due), fromMillis(sent)
	d.Token = driver.Token(strconv.FormatInt(seq, 10) + "." + token)
	d.Header, err = decodeHeader(header)
	return d, err
}

// sortClaim restores the order that "returning" does not promise.
func sortClaim(ds []driver.Delivery) {
	slices.SortStableFunc(ds, func(a, b driver.Delivery) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.NotBefore.Compare(b.NotBefore),
			cmp.Compare(seqOf(a.Token), seqOf(b.Token)))
	})
}
