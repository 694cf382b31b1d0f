package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// silentWorker is how long a worker's row outlives its last heartbeat.
const silentWorker = 24 * time.Hour

// WorkerSilence is after how long without a heartbeat a worker counts as dead.
const WorkerSilence = 30 * time.Second

// Heartbeat writes the worker's row by the store's clock, and returns the orders
// that stand in it. A row that was purged or released is made again, without any.
func (s *Store) Heartbeat(ctx context.Context, w driver.WorkerRecord) (driver.Orders, error) {
	w.Holds = w.Holds[:min(len(w.Holds), driver.MaxHolds)]
	lists, err := json.Marshal(map[string][]string{"queues": w.Queues, "kinds": w.Kinds})
	limits, err2 := json.Marshal(w.Limits)
	holds, err3 := json.Marshal(w.Holds)
	if err := errors.Join(err, err2, err3); err != nil {
		return driver.Orders{}, fmt.Errorf("encode worker: %w", err)
	}
	var told driver.Order
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		_, err = q.Exec(ctx, s.SQL.Heartbeat, w.ID, w.Host, w.PID, w.Program, w.Version, w.State, string(lists),
			w.Started.UnixMilli(), now, w.Handled, w.Failed, w.RSS, w.InFlight, w.Concurrency,
			string(limits), string(holds))
		if err != nil {
			return err
		}
		return q.Query(ctx, s.SQL.Told, []any{w.ID}, func(r Row) error { return r.Scan(&told) })
	})
	return driver.Orders{Stop: told == driver.OrderStop}, s.explain("heartbeat", err)
}

// Deregister removes a worker's row.
func (s *Store) Deregister(ctx context.Context, id string) error {
	return s.explain("deregister worker", s.write(ctx, func(ctx context.Context, q Session) error {
		_, err := q.Exec(ctx, s.SQL.Deregister, id)
		return err
	}))
}

// A WorkerFilter chooses workers. Zero fields choose all.
type WorkerFilter struct {
	IDs           []string
	Program, Host string
}

// Matches reports whether the filter chooses the worker.
func (f WorkerFilter) Matches(w driver.WorkerRecord) bool {
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, w.ID)) &&
		(f.Program == "" || f.Program == w.Program) && (f.Host == "" || f.Host == w.Host)
}

// act is what an order to the workers is kept as.
func (f WorkerFilter) act(order driver.Order, ordered []driver.WorkerRecord) Act {
	a := Act{Verb: VerbStop, Count: len(ordered)}
	if order == driver.OrderNone {
		a.Verb = VerbTakeBack
	}
	for _, w := range ordered {
		a.Became += w.ID + " "
	}
	if len(ordered) == 1 {
		a.Subject = ordered[0].ID
	}
	for _, pair := range [][2]string{{"program", f.Program}, {"host", f.Host}} {
		if pair[1] != "" {
			a.Filter += pair[0] + ":" + pair[1] + " "
		}
	}
	a.Filter, a.Became = strings.TrimSpace(a.Filter), strings.TrimSpace(a.Became)
	return a
}

// OrderWorkers gives an order to the workers that the filter chooses and that are
// alive, on every host, and returns them as they were then. A worker obeys at its
// next heartbeat, and its row is gone once it has ended; one that starts later is
// not meant. driver.OrderNone takes an order back that was not read yet.
func (s *Store) OrderWorkers(
	ctx context.Context, f WorkerFilter, order driver.Order,
) (ordered []driver.WorkerRecord, err error) {
	if order != driver.OrderNone && order != driver.OrderStop {
		return nil, fmt.Errorf("order workers: %w: order %q", driver.ErrInvalid, string(order))
	}
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		ordered = nil
		all, now, err := s.workers(ctx, q)
		if err != nil {
			return err
		}
		for _, w := range all {
			if !f.Matches(w) || now.Sub(w.Seen) > WorkerSilence {
				continue
			}
			n, err := q.Exec(ctx, s.SQL.Tell, string(order), w.ID)
			if err != nil {
				return err
			}
			if n > 0 { // else it has left in between
				ordered = append(ordered, w)
			}
		}
		if len(ordered) == 0 {
			return nil
		}
		return s.audit(ctx, q, f.act(order, ordered))
	})
	return ordered, s.explain("order workers", err)
}

// Workers lists the workers by their start, those that have been silent for long
// included: see WorkerSilence. now is the store's clock.
func (s *Store) Workers(ctx context.Context) (ws []driver.WorkerRecord, now time.Time, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		ws, now, err = s.workers(ctx, q)
		return err
	})
	return ws, now, s.explain("list workers", err)
}

func (s *Store) workers(ctx context.Context, q Session) (ws []driver.WorkerRecord, now time.Time, err error) {
	ms, err := q.Now(ctx)
	if err != nil {
		return nil, now, err
	}
	err = q.Query(ctx, s.SQL.Workers, nil, func(r Row) error {
		w, err := scanWorker(r)
		ws = append(ws, w)
		return err
	})
	return ws, fromMillis(ms), err
}

func scanWorker(r Row) (driver.WorkerRecord, error) {
	var (
		w                    driver.WorkerRecord
		lists, limits, holds string
		started, seen        int64
		decoded              struct{ Queues, Kinds []string }
	)
	err := r.Scan(&w.ID, &w.Host, &w.PID, &w.Program, &w.Version, &w.State, &lists, &started, &seen,
		&w.Handled, &w.Failed, &w.RSS, &w.InFlight, &w.Concurrency, &limits, &holds, &w.Told)
	if err != nil {
		return w, err
	}
	// A row of an older version says nothing of limits and holds.
	for _, part := range []struct {
		text string
		into any
	}{{lists, &decoded}, {limits, &w.Limits}, {holds, &w.Holds}} {
		if part.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return w, fmt.Errorf("decode worker %s: %w", w.ID, err)
		}
	}
	w.Queues, w.Kinds = decoded.Queues, decoded.Kinds
	w.Started, w.Seen = fromMillis(started), fromMillis(seen)
	return w, nil
}

// purgeAttempts removes some hundreds of attempts that belong to nothing. They are looked for
// by a query of their own: within a delete, MariaDB reads what is committed meanwhile, and
// would find a message neither alive, before it is put back, nor dead, after that. It reports
// whether there may be more.
func (s *Store) purgeAttempts(ctx context.Context, q Session) (more bool, err error) {
	var old [][]any
	err = q.Query(ctx, s.SQL.AttemptsOld, []any{purgeBatch}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		old = append(old, []any{seq})
		return err
	})
	if err != nil {
		return false, err
	}
	return len(old) == purgeBatch, s.many(ctx, q, s.SQL.AttemptCut, old)
}

// Maintain purges what is past its retention.
func (s *Store) Maintain(ctx context.Context, retention time.Duration) error {
	err := s.inParts(ctx, func(ctx context.Context, q Session) (bool, error) { return s.purgeLetters(ctx, q, retention) })
	if err != nil {
		return s.explain("maintain store", err)
	}
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if _, err := q.Exec(ctx, s.SQL.PurgeWorker, now-silentWorker.Milliseconds()); err != nil {
			return err
		}
		if _, err := q.Exec(ctx, s.SQL.PausePurge, now); err != nil {
			return err
		}
		return s.keepGroups(ctx, q, now, now-retention.Milliseconds())
	})
	if err == nil {
		err = s.purgeOffers(ctx)
	}
	if err == nil {
		err = s.inParts(ctx, s.purgeAttempts)
	}
	if err == nil {
		err = s.inParts(ctx, s.purgeActs)
	}
	if err == nil {
		err = s.inParts(ctx, func(ctx context.Context, q Session) (bool, error) {
			return s.purgeRevisions(ctx, q, retention)
		})
	}
	if err == nil {
		err = s.purgeOperations(ctx)
	}
	if err == nil {
		_, err = s.MarkLetters(ctx)
	}
	return s.explain("maintain store", err)
}

// purgeLetters removes some letters that are past their retention. They are removed by
// their numbers, and in the order of these, as everybody locks letters.
func (s *Store) purgeLetters(ctx context.Context, q Session, retention time.Duration) (more bool, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return false, err
	}
	var seqs []int64
	err = q.Query(ctx, s.SQL.LetterPurge, []any{now - retention.Milliseconds(), purgeBatch}, func(r Row) error {
		var seq int64
		err := r.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	})
	if err != nil || len(seqs) == 0 {
		return false, err
	}
	slices.Sort(seqs)
	_, err = q.Exec(ctx, s.SQL.LettersDrop+list(len(seqs)), listed(seqs)...)
	return len(seqs) == purgeBatch, err
}

// Bounds of what one Maintain removes of what may be much, so that neither a transaction
// nor the call is long. The next call goes on.
const (
	purgeBatch = 500 // rows in one transaction
	purgeParts = 100 // transactions
)

// inParts purges in short transactions, until there is no more.
func (s *Store) inParts(ctx context.Context, purge func(context.Context, Session) (more bool, err error)) error {
	for range purgeParts {
		more := false
		err := s.write(ctx, func(ctx context.Context, q Session) (err error) {
			more, err = purge(ctx, q)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}
