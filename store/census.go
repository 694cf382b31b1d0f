package store

import (
	"context"
	"database/sql"
	"time"
)

// A Hold is what one worker has in hand of one queue.
type Hold struct {
	Worker, Queue string
	Messages      int64
	First, Last   time.Time // when the oldest and the newest of them were claimed
}

// InHand lists what is in flight, by worker and queue. It reads the claims, not
// what waits.
func (s *Store) InHand(ctx context.Context) ([]Hold, error) {
	var out []Hold
	err := s.look(ctx, s.SQL.InHand, nil, func(r Row) error {
		var (
			h           Hold
			first, last int64
		)
		err := r.Scan(&h.Worker, &h.Queue, &h.Messages, &first, &last)
		h.First, h.Last = fromMillis(first), fromMillis(last)
		out = append(out, h)
		return err
	})
	return out, s.explain("list claims", err)
}

// A HeldBack is a kind of which messages were claimed before, and wait again.
type HeldBack struct {
	Queue, Kind string
	Messages    int64
	Due         time.Time // when the first of them is due again
}

// HeldBack lists the kinds among the messages that were claimed before and wait
// for their time, by queue. It is a sample: only the thousand delayed messages
// that are due first are looked at. Messages that no worker can handle stand
// there, beside those that wait for their next attempt.
func (s *Store) HeldBack(ctx context.Context) ([]HeldBack, error) {
	var out []HeldBack
	err := s.look(ctx, s.SQL.HeldBack, nil, func(r Row) error {
		var (
			k   HeldBack
			due int64
		)
		err := r.Scan(&k.Queue, &k.Kind, &k.Messages, &due)
		k.Due = fromMillis(due)
		out = append(out, k)
		return err
	})
	return out, s.explain("list kinds", err)
}

// NewLetters counts the dead letters that died within a window before now, by
// queue.
func (s *Store) NewLetters(ctx context.Context, window time.Duration) (map[string]int64, error) {
	out := map[string]int64{}
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		return q.Query(ctx, s.SQL.NewLetters, []any{now - window.Milliseconds()}, func(r Row) error {
			var (
				queue string
				n     int64
			)
			err := r.Scan(&queue, &n)
			out[queue] = n
			return err
		})
	})
	return out, s.explain("count new dead letters", err)
}

// A Load is how many connections the store's server has open, and how many
// this user may have at most. A store in a file has no server: both are zero.
type Load struct{ Used, Most int64 }

// Load counts the connections of the server.
func (s *Store) Load(ctx context.Context) (Load, error) {
	var l Load
	if s.SQL.Load == "" {
		return l, nil
	}
	err := s.look(ctx, s.SQL.Load, nil, func(r Row) error { return r.Scan(&l.Most, &l.Used) })
	return l, s.explain("count connections", err)
}

// File is the path of the store's file; empty for a store on a server.
func (s *Store) File(ctx context.Context) (string, error) {
	if s.SQL.File == "" {
		return "", nil
	}
	var path string
	err := s.look(ctx, s.SQL.File, nil, func(r Row) error { return r.Scan(&path) })
	return path, s.explain("find the store's file", err)
}

// Now reads the store's clock. A store in a file has the host's.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		ms, err := q.Now(ctx)
		now = fromMillis(ms)
		return err
	})
	return now, s.explain("read the store's clock", err)
}

// Pools are the figures of this process's own connections, by what they are
// for; nil where the engine does not tell.
func (s *Store) Pools() map[string]sql.DBStats {
	if e, ok := s.Engine.(interface{ Pools() map[string]sql.DBStats }); ok {
		return e.Pools()
	}
	return nil
}

// look runs one query.
func (s *Store) look(ctx context.Context, stmt string, args []any, scan func(Row) error) error {
	return s.Engine.Read(ctx, func(ctx context.Context, q Session) error { return q.Query(ctx, stmt, args, scan) })
}

// census adds the statements of this file.
func census(s *Statements) {
	s.InHand = `select coalesce(worker, ''), queue, count(*), min(claimed_at), max(claimed_at)
		from posthorn_message where state = 2 group by worker, queue`
	s.HeldBack = HeldBackWhere(`state = 1 order by wake_at`)
	s.NewLetters = `select queue, count(*) from posthorn_letter where died_at > ? and discarded_at is null group by queue`
}

// HeldBackWhere is Statements.HeldBack; a database says in words of its own how
// delayed rows are found in the order of their times.
func HeldBackWhere(delayed string) string {
	return `select queue, kind, count(*), min(due_at) from (
		  select queue, kind, due_at, deliveries from posthorn_message where ` + delayed + ` limit 1000) soonest
		where deliveries > 0 group by queue, kind order by queue, kind`
}
