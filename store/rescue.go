package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/internal/safety"
)

// One look of so many sees all leases, the others only those that have run out since.
const rescueAll = 60

// rescues is when a consumer looks for leases that ran out, which is a crash of
// the worker that held them.
type rescues struct {
	last  time.Time
	looks int
	until int64 // all leases up to here, by the store's clock, have been seen to

	spared bool // those that were found last were not rescued, because the store was busy
}

func (r *rescues) due(lease time.Duration) bool {
	return time.Since(r.last) >= ruling.RescueEvery(lease)
}

// awaySince reports whether the store was away in the time d before now, as far as
// any call of this process knows.
func (s *Store) awaySince(d time.Duration) bool {
	away := s.away.Load()
	return away != nil && time.Since(*away) < d
}

// rescue makes ready the messages whose lease ran out, and suspects whom nobody
// runs. For a while after the store was away it spares them: whoever holds one
// could not renew it either.
func (c *consumer) rescue(ctx context.Context) error {
	r := &c.rescues
	if c.store.awaySince(c.sub.Lease / 2) {
		return nil
	}
	if r.looks++; r.looks%rescueAll == 0 {
		r.until = 0
	}
	r.last = time.Now()
	var (
		now   int64
		found int
		old   []int64
	)
	err := c.store.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		found, old = 0, nil
		if now, err = q.Now(ctx); err != nil {
			return err
		}
		find, args := c.store.SQL.Expired, []any{r.until, now}
		if c.store.SQL.LeasesDue != "" {
			find, args = c.store.SQL.LeaseIsDue, args[1:]
		}
		if err := q.Query(ctx, find, args, func(Row) error { found++; return nil }); err != nil {
			return err
		}
		old, err = c.oldSuspects(ctx, q, now)
		return err
	})
	if err != nil || found+len(old) == 0 {
		if err == nil {
			r.until = now
		}
		return err
	}
	if found > 0 {
		r.last = time.Time{} // there may be more
	}
	crashed, asked, spared := 0, time.Now(), false
	err = c.store.write(ctx, func(ctx context.Context, q Session) (err error) {
		if err := c.freeSuspects(ctx, q, old, now); err != nil || found == 0 {
			return err
		}
		if spared = ruling.SparesRescue(time.Since(asked), c.sub.Lease, r.spared); spared {
			return nil
		}
		if mutant.RescueBlind {
			now += rescueBlindBy
		}
		crashed, err = c.store.rescue(ctx, q, r.until, now)
		return err
	})
	if r.spared = spared; spared {
		now := time.Now()
		c.store.away.Store(&now)
	}
	if err == nil && crashed > 0 {
		c.store.opts.Meter.Crashed(crashed)
	}
	return err
}

// rescue makes ready the messages whose lease ran out in a time, and notes a crash
// for each. The time is compared again in the statement that changes the row, so a
// lease that was renewed is safe.
func (s *Store) rescue(ctx context.Context, q Session, after, until int64) (n int, err error) {
	seqs, tokens, err := s.expired(ctx, q, after, until)
	if err != nil {
		return 0, err
	}
	if n = len(seqs); n > 0 {
		due, crashed := make([][]any, n), make([][]any, n)
		for i, seq := range seqs {
			due[i], crashed[i] = []any{seq, until}, []any{seq}
		}
		if safety.History {
			if _, err := q.ExecMany(ctx, s.SQL.Crashed, crashed); err != nil {
				return 0, err
			}
		}
		failpoint.Pass(failpoint.MidRescue)
		if _, err = q.ExecMany(ctx, s.SQL.Promote, due); err != nil {
			return 0, err
		}
		s.behind.Add(1)
	}
	return n, s.seen(ctx, q, tokens)
}

// seen removes the claims of which no message is left, and says when to look again at
// the others. Nobody else sees to them, since they are locked, and no message comes back to
// a claim that it has left.
func (s *Store) seen(ctx context.Context, q Session, tokens []string) error {
	if len(tokens) == 0 {
		return nil
	}
	var gone, later [][]any
	err := q.Query(ctx, s.SQL.LeaseLeft, []any{jsonList(tokens)}, func(r Row) error {
		var token string
		var ends sql.NullInt64
		err := r.Scan(&token, &ends)
		if ends.Valid {
			later = append(later, []any{ends.Int64, token})
		} else {
			gone = append(gone, []any{token})
		}
		return err
	})
	if err == nil && len(gone) > 0 {
		_, err = q.ExecMany(ctx, s.SQL.LeaseGone, gone)
	}
	if err == nil && len(later) > 0 {
		_, err = q.ExecMany(ctx, s.SQL.LeaseNext, later)
	}
	return err
}

// jsonList writes a list of words as JSON, which every server can read as a table.
func jsonList(words []string) string {
	text, _ := json.Marshal(words) // a list of strings always can be written
	return string(text)
}

// expired finds and locks messages whose lease ran out, and the claims that are to
// be seen to, where a table of claims says where to look.
func (s *Store) expired(ctx context.Context, q Session, after, until int64) (seqs []int64, tokens []string, err error) {
	row := func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	}
	if s.SQL.LeasesDue == "" {
		err = q.Query(ctx, s.SQL.Expired+s.SQL.SkipLocked, []any{after, until}, row)
		return seqs, nil, err
	}
	err = q.Query(ctx, s.SQL.LeasesDue, []any{until}, func(r Row) error {
		var token string
		err := r.Scan(&token)
		tokens = append(tokens, token)
		return err
	})
	if err != nil || len(tokens) == 0 {
		return nil, nil, err
	}
	err = q.Query(ctx, s.SQL.LeaseExpired, []any{jsonList(tokens), until}, row)
	if err != nil || len(seqs) == 0 {
		return nil, tokens, err
	}
	found := listed(seqs)
	seqs = nil
	err = q.Query(ctx, s.SQL.LeaseLock+list(len(found))+s.SQL.SkipLocked, append([]any{until}, found...), row)
	return seqs, tokens, err
}
