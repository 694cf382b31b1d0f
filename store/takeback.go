package store

import (
	"context"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/internal/safety"
)

// takeBack adds the statements by which a crash is taken back.
func takeBack(s *Statements) {
	s.Charged = `select crashes from posthorn_message where seq = ? and id = ? and crashes > 0`
	s.Returned = `select count(*) from posthorn_attempt where message_id = ? and class = 'lease_lost'`
	s.TakeBack = `update posthorn_attempt
			set class = 'lease_lost', error = 'its worker fell silent while holding it, and came back'
			where message_id = ? and claim = ? and class = 'crash'`
	s.Uncharge = `update posthorn_message set crashes = crashes - 1 where seq = ?`
}

// takeBack takes back the crashes that were counted when the leases of claims ran out
// that somebody settles all the same: whoever held them was frozen or starved, and has not
// died. An error is nobody's concern: the crashes stay counted.
func (c *consumer) takeBack(ctx context.Context, lost []driver.Delivery) {
	if len(lost) == 0 || !safety.History {
		return
	}
	_ = c.store.write(ctx, func(ctx context.Context, q Session) error {
		for _, d := range lost {
			if err := c.store.takeOneBack(ctx, q, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// takeOneBack locks the message before its history, as everybody does who writes both.
func (s *Store) takeOneBack(ctx context.Context, q Session, d driver.Delivery) error {
	seq, claim, err := splitToken(d.Token)
	if err != nil {
		return err
	}
	charged, before := false, 0
	err = q.Query(ctx, s.SQL.Charged+s.SQL.Lock, []any{seq, d.ID}, func(Row) error { charged = true; return nil })
	if err != nil || !charged {
		return err
	}
	err = q.Query(ctx, s.SQL.Returned, []any{d.ID}, func(r Row) error { return r.Scan(&before) })
	if err != nil || !ruling.TakesBack(before) {
		return err
	}
	n, err := q.Exec(ctx, s.SQL.TakeBack, d.ID, claim)
	if err != nil || n == 0 {
		return err
	}
	_, err = q.Exec(ctx, s.SQL.Uncharge, seq)
	return err
}
