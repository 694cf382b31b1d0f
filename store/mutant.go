package store

import (
	"context"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/operation"
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

// everHeld are the messages that a dead worker holds, and those of its claims that have
// ended.
func everHeld(seqs []int64, d driver.Death) []int64 {
	for _, token := range d.Begun {
		if seq := seqOf(token); !slices.Contains(seqs, seq) {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// anybodyHolds is HoldsOf whoever holds the messages now.
func anybodyHolds(stmt string) string { return strings.Replace(stmt, `worker = ?`, `? <> ''`, 1) }

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
		n, err = q.Exec(ctx, b.store.SQL.Letter, b.now, s.Reason, "", "", "", "", "", seq, claim)
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

// sendAhead sends the next letters of an operation, in a transaction of its own.
func (s *Store) sendAhead(ctx context.Context, t *Turn) error {
	t.ahead = nil
	return s.write(ctx, func(ctx context.Context, q Session) error {
		o, err := s.lockOperation(ctx, q, t.ID)
		if err != nil || !o.lease.Stands(t.fence) || o.Action != ActionRetry {
			return nil //nolint:nilerr // the next transaction says so
		}
		c := o.course()
		n := c.Allowed(operation.Usual(), o.Now)
		if n == 0 {
			return nil
		}
		if err := q.Query(ctx, s.SQL.TargetsNext, []any{o.seq, n}, func(r Row) error {
			var seq int64
			err := r.Scan(&seq)
			t.ahead = append(t.ahead, seq)
			return err
		}); err != nil {
			return err
		}
		return s.sendLetters(ctx, q, t, o.Now.UnixMilli())
	})
}

// sendLetters sends those that are dead, and whose ids are not live.
func (s *Store) sendLetters(ctx context.Context, q Session, t *Turn, now int64) error {
	var sent []int64
	for _, seq := range t.ahead {
		n, err := q.Exec(ctx, s.SQL.LettersBack+list(1)+` and discarded_at is null
			and not exists (select 1 from posthorn_message m where m.id = posthorn_letter.id)`, "", now, now, seq)
		if err != nil {
			return err
		}
		waits := false // for the end of a live message
		if n == 0 {
			err = q.Query(ctx, s.SQL.LetterLock+list(1), []any{seq}, func(r Row) error {
				var discarded bool
				err := r.Scan(new(int64), new(string), &discarded, new(int64))
				waits = !discarded
				return err
			})
		}
		if err != nil {
			return err
		}
		if !waits {
			sent = append(sent, seq)
		}
	}
	t.ahead = sent
	return nil
}
