package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
)

// extend renews claims, and returns those that are lost. It never waits for a
// row that is locked: whoever has it is about to end the claim, so it needs no
// renewal. Waiting for several of them would be a deadlock with a group that
// acknowledges the same messages in another order.
func (s *Store) extend(
	ctx context.Context, q Session, lease time.Duration, ds []driver.Delivery,
) (lost []driver.Delivery, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return nil, err
	}
	free, err := s.claims(ctx, q, s.SQL.SkipLocked, ds)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, 0, len(ds))
	var others []driver.Delivery
	for _, d := range ds {
		seq, claim, err := splitToken(d.Token)
		switch {
		case err != nil:
			return nil, err
		case free[seq] == claim:
			rows = append(rows, []any{now + lease.Milliseconds(), seq, claim})
		default:
			others = append(others, d)
		}
	}
	if len(rows) > 0 {
		if _, err := q.ExecMany(ctx, s.SQL.Extend, rows); err != nil {
			return nil, err
		}
		failpoint.Pass(failpoint.MidExtend)
	}
	return s.gone(ctx, q, others)
}

// gone returns the claims that do not stand any more.
func (s *Store) gone(ctx context.Context, q Session, ds []driver.Delivery) (gone []driver.Delivery, err error) {
	standing, err := s.claims(ctx, q, "", ds)
	if err != nil {
		return nil, err
	}
	for _, d := range ds {
		if seq, claim, _ := splitToken(d.Token); standing[seq] != claim {
			gone = append(gone, d)
		}
	}
	return gone, nil
}

// claims reads the tokens of messages by their sequence.
func (s *Store) claims(
	ctx context.Context, q Session, locking string, ds []driver.Delivery,
) (map[int64]string, error) {
	tokens := make(map[int64]string, len(ds))
	for len(ds) > 0 {
		part := ds[:min(len(ds), maxClaim)]
		ds = ds[len(part):]
		args := make([]any, len(part))
		for i, d := range part {
			args[i] = seqOf(d.Token)
		}
		err := q.Query(ctx, s.SQL.Claims+list(len(args))+locking, args, func(r Row) error {
			var seq int64
			var token sql.NullString
			err := r.Scan(&seq, &token)
			tokens[seq] = token.String
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// recall finds out what became of a claim whose commit was cut off, and returns
// what it got: else the messages would be charged with a crash when the lease is
// over. All of the claim share its fate; asking for the first one waits for a
// backend that is still committing.
func (c *consumer) recall(ctx context.Context, limit int) (ds []driver.Delivery, err error) {
	seq, claim, err := splitToken(c.unsure[0].Token)
	if err != nil {
		return nil, err
	}
	part := c.unsure[:min(len(c.unsure), limit)]
	other := slices.IndexFunc(part, func(d driver.Delivery) bool {
		_, its, err := splitToken(d.Token)
		return err != nil || its != claim
	})
	if other > 0 {
		part = part[:other] // each claim has a commit of its own
	}
	var lost []driver.Delivery
	err = c.store.write(ctx, func(ctx context.Context, q Session) (err error) {
		if _, err = c.store.held(ctx, q, seq, claim); err != nil {
			return err
		}
		lost, err = c.store.extend(ctx, q, c.sub.Lease, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.unsure = c.unsure[len(part):]
	gone := make(map[driver.Token]bool, len(lost))
	for _, d := range lost {
		gone[d.Token] = true
	}
	return slices.DeleteFunc(slices.Clone(part), func(d driver.Delivery) bool { return gone[d.Token] }), nil
}
