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

	spared bool     // those that were found last were not rescued, because the store was busy
	own    reprieve // when that was last
}

// A reprieve is when a consumer last spared leases that had run out, because the store was busy.
type reprieve struct {
	at    time.Time
	lease time.Duration // of the consumer
}

// end is when those with such leases need not be spared any more.
func (r reprieve) end() time.Time { return r.at.Add(r.lease / 2) }

// spared reports whether the leases that are to be spared were so lately, by this consumer or by
// another one for as long.
func (c *consumer) spared() bool {
	lease, others := c.sub.Lease, c.store.reprieve.Load()
	return c.rescues.spared || others != nil && others.lease >= lease && time.Since(others.at) < lease
}

// lasts reports whether consumers with such leases have to spare any still.
func (r reprieve) lasts(lease time.Duration) bool { return time.Since(r.at) < min(r.lease, lease)/2 }

// spares reports whether the store was away, or busy, for so long and so lately that whoever holds a
// message may not have renewed its lease.
func (c *consumer) spares() bool {
	lease, others := c.sub.Lease, c.store.reprieve.Load()
	return c.store.awaySince(lease/2) || c.rescues.own.lasts(lease) || others != nil && others.lasts(lease)
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
// runs. For a while after the store was away, or so busy that it had to wait for its turn, it
// spares them: whoever holds one could not renew it either.
func (c *consumer) rescue(ctx context.Context) error {
	r := &c.rescues
	if c.spares() {
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
			r.until, r.spared = now, false
		}
		return err
	}
	var of lapsed
	asked, spared := time.Now(), false
	err = c.store.write(ctx, func(ctx context.Context, q Session) (err error) {
		of, spared = lapsed{}, false
		if err := c.freeSuspects(ctx, q, old, now); err != nil || found == 0 {
			return err
		}
		until := now
		if mutant.RescueBlind {
			until += rescueBlindBy
		}
		if of, err = c.store.lapsed(ctx, q, r.until, until); err != nil {
			return err
		}
		if spared = len(of.seqs) > 0 && ruling.SparesRescue(time.Since(asked), c.sub.Lease, c.spared()); spared {
			return nil
		}
		return c.store.rescue(ctx, q, of, until)
	})
	if len(of.seqs) > 0 || len(of.tokens) >= maxLeases {
		r.last = time.Time{} // there may be more
	}
	if r.spared = spared; spared {
		r.own = reprieve{time.Now(), c.sub.Lease}
		if last, old := r.own, c.store.reprieve.Load(); old == nil || old.end().Before(last.end()) {
			c.store.reprieve.Store(&last)
		}
	}
	if err == nil && !spared && len(of.seqs) > 0 {
		c.store.opts.Meter.Crashed(len(of.seqs))
	}
	return err
}

// A lapsed is what a look for leases that ran out has found: messages, and claims that are
// to be seen to.
type lapsed struct {
	seqs   []int64
	tokens []string
}

// rescue makes ready the messages whose lease ran out, and notes a crash
// for each. The time is compared again in the statement that changes the row, so a
// lease that was renewed is safe.
func (s *Store) rescue(ctx context.Context, q Session, of lapsed, until int64) error {
	if n := len(of.seqs); n > 0 {
		due, crashed := make([][]any, n), make([][]any, n)
		for i, seq := range of.seqs {
			due[i], crashed[i] = []any{seq, until}, []any{seq}
		}
		if safety.History {
			if _, err := q.ExecMany(ctx, s.SQL.Crashed, crashed); err != nil {
				return err
			}
		}
		failpoint.Pass(failpoint.MidRescue)
		if _, err := q.ExecMany(ctx, s.SQL.Promote, due); err != nil {
			return err
		}
		s.behind.Add(1)
		if err := s.cameBack(ctx, q, of.seqs...); err != nil {
			return err
		}
	}
	return s.seen(ctx, q, of.tokens, until)
}

// maxLeases is how many claims are looked at together whose time has come; see
// Statements.LeasesDue. lookAgain is when to look again, in milliseconds, at one of which a
// message is over its time and was locked: an effect that runs for longer than its lease keeps
// it so. Others must have their turn before.
const (
	maxLeases = 50
	lookAgain = 1000
)

// seen removes the claims of which no message is left, and says when to look again at
// the others. Nobody else sees to them, since they are locked, and no message comes back to
// a claim that it has left.
func (s *Store) seen(ctx context.Context, q Session, tokens []string, until int64) error {
	if len(tokens) == 0 {
		return nil
	}
	var gone, later [][]any
	err := q.Query(ctx, s.SQL.LeaseLeft, []any{jsonList(tokens)}, func(r Row) error {
		var token string
		var ends sql.NullInt64
		err := r.Scan(&token, &ends)
		if ends.Valid {
			next := ends.Int64
			if next <= until {
				next = until + lookAgain
			}
			later = append(later, []any{next, token})
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

// lapsed finds and locks messages whose lease ran out, and the claims that are to
// be seen to, where a table of claims says where to look.
func (s *Store) lapsed(ctx context.Context, q Session, after, until int64) (of lapsed, err error) {
	row := func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		of.seqs = append(of.seqs, seq)
		return err
	}
	if s.SQL.LeasesDue == "" {
		err = q.Query(ctx, s.SQL.Expired+s.SQL.SkipLocked, []any{after, until}, row)
		return of, err
	}
	err = q.Query(ctx, s.SQL.LeasesDue, []any{until, maxLeases}, func(r Row) error {
		var token string
		err := r.Scan(&token)
		of.tokens = append(of.tokens, token)
		return err
	})
	if err != nil || len(of.tokens) == 0 {
		return of, err
	}
	err = q.Query(ctx, s.SQL.LeaseExpired, []any{jsonList(of.tokens), until}, row)
	if err != nil || len(of.seqs) == 0 {
		return of, err
	}
	found := listed(of.seqs)
	of.seqs = nil
	err = q.Query(ctx, s.SQL.LeaseLock+list(len(found))+s.SQL.SkipLocked, append([]any{until}, found...), row)
	return of, err
}
