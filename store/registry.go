package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// silentWorker is how long a worker's row outlives its last heartbeat.
const silentWorker = 24 * time.Hour

// Heartbeat writes the worker's row by the store's clock and returns the stop
// generation.
func (s *Store) Heartbeat(ctx context.Context, w driver.WorkerRecord) (int64, error) {
	lists, err := json.Marshal(map[string][]string{"queues": w.Queues, "kinds": w.Kinds})
	if err != nil {
		return 0, fmt.Errorf("encode worker: %w", err)
	}
	var stop int64
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		_, err = q.Exec(ctx, s.SQL.Heartbeat, w.ID, w.Host, w.PID, w.Program, w.Version, w.State, string(lists),
			w.Started.UnixMilli(), now, w.Handled, w.Failed, w.RSS, w.InFlight, w.Concurrency)
		if err != nil {
			return err
		}
		return q.Query(ctx, s.SQL.StopGen, nil, func(r Row) error { return r.Scan(&stop) })
	})
	return stop, s.explain("heartbeat", err)
}

// Deregister removes a worker's row.
func (s *Store) Deregister(ctx context.Context, id string) error {
	return s.explain("deregister worker", s.write(ctx, func(ctx context.Context, q Session) error {
		_, err := q.Exec(ctx, s.SQL.Deregister, id)
		return err
	}))
}

// StopWorkers tells every worker of the store to stop, those on other hosts
// included. It returns the new generation; a worker obeys at its next
// heartbeat, and its row is gone once it has ended.
func (s *Store) StopWorkers(ctx context.Context) (generation int64, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		if _, err := q.Exec(ctx, s.SQL.Stop); err != nil {
			return err
		}
		return q.Query(ctx, s.SQL.StopGen, nil, func(r Row) error { return r.Scan(&generation) })
	})
	return generation, s.explain("stop workers", err)
}

// Workers lists the workers by their start. Alive tells whether one has been
// heard of lately; now is the store's clock.
func (s *Store) Workers(ctx context.Context) (ws []driver.WorkerRecord, now time.Time, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		ms, err := q.Now(ctx)
		if err != nil {
			return err
		}
		now = fromMillis(ms)
		return q.Query(ctx, s.SQL.Workers, nil, func(r Row) error {
			w, err := scanWorker(r)
			ws = append(ws, w)
			return err
		})
	})
	return ws, now, s.explain("list workers", err)
}

func scanWorker(r Row) (driver.WorkerRecord, error) {
	var (
		w             driver.WorkerRecord
		lists         string
		started, seen int64
		decoded       struct{ Queues, Kinds []string }
	)
	err := r.Scan(&w.ID, &w.Host, &w.PID, &w.Program, &w.Version, &w.State, &lists, &started, &seen,
		&w.Handled, &w.Failed, &w.RSS, &w.InFlight, &w.Concurrency)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(lists), &decoded); err != nil {
		return w, fmt.Errorf("decode worker %s: %w", w.ID, err)
	}
	w.Queues, w.Kinds = decoded.Queues, decoded.Kinds
	w.Started, w.Seen = fromMillis(started), fromMillis(seen)
	return w, nil
}

// ReleaseWorker gives back at once what a worker held that is known to be
// dead: its supervisor has reaped its process. Never call it for a worker that
// may still run. The messages are due at once, with a crash noted for each.
func (s *Store) ReleaseWorker(ctx context.Context, id string) (released int64, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if released, err = q.Exec(ctx, s.SQL.ReleaseDead, now, now, id); err != nil {
			return err
		}
		if _, err := q.Exec(ctx, s.SQL.Deregister, id); err != nil {
			return err
		}
		_, err = s.rescue(ctx, q, 0, now)
		return err
	})
	s.hub.wake()
	return released, s.explain("release worker", err)
}

// Maintain purges what is past its retention.
func (s *Store) Maintain(ctx context.Context, retention time.Duration) error {
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		if _, err := q.Exec(ctx, s.SQL.LetterPurge, now-retention.Milliseconds()); err != nil {
			return err
		}
		if _, err := q.Exec(ctx, s.SQL.PurgeWorker, now-silentWorker.Milliseconds()); err != nil {
			return err
		}
		_, err = q.Exec(ctx, s.SQL.AttemptPurge)
		return err
	})
	return s.explain("maintain store", err)
}
