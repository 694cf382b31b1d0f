package store

import (
	"context"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
)

// The planted faults of package internal/mutant that need more than a line. A normal
// build calls none of this.

// rescueBlindBy is how long before its end a lease is rescued, in milliseconds.
const rescueBlindBy = 24 * 60 * 60 * 1000

// settleApart commits the settlements of a span, before its effects run.
func (s *span) settleApart(ctx context.Context) error {
	if err := s.conn.Commit(ctx); err != nil {
		return err
	}
	_, err := s.conn.Begin(ctx, false)
	if err == nil && s.nested {
		err = s.conn.Do(ctx, &Write{Before: []string{s.group.store.SQL.Savepoint}})
	}
	return err
}

// inTwo settles in two transactions: it keeps the letter in one, or removes a message
// that is to be tried again; what remains to be done is done in another.
func (b *settling) inTwo(ctx context.Context, s driver.Settlement) (bool, error) {
	seq, claim, err := splitToken(s.Delivery.Token)
	if err != nil {
		return false, err
	}
	var n int64
	first := func(ctx context.Context, q Session) (err error) {
		if mutant.RetryInTwo {
			n, err = q.Exec(ctx, b.store.SQL.Ack, seq, claim)
			return err
		}
		n, err = q.Exec(ctx, b.store.SQL.Letter, b.now, s.Reason, "", "", seq, claim)
		return err
	}
	if err := b.store.write(ctx, first); err != nil || n == 0 {
		return false, err
	}
	if mutant.RetryInTwo {
		failpoint.Pass(failpoint.MidRetry)
		again := s.Delivery.Envelope
		again.Attempt, again.Delay = again.Attempt+1, s.Delay
		return true, b.store.Send(ctx, again)
	}
	failpoint.Pass(failpoint.MidBury)
	n, err = b.q.Exec(ctx, b.store.SQL.Ack, seq, claim)
	return n > 0, err
}
