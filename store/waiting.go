package store

import (
	"context"
	"slices"
	"time"
)

// Served lists the queues that workers serve that are alive, by name. The paused ones are
// not among them.
func (s *Store) Served(ctx context.Context) (queues []string, err error) {
	ws, now, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		if now.Sub(w.Seen) <= WorkerSilence {
			queues = append(queues, w.Queues...)
		}
	}
	slices.Sort(queues)
	queues, err = s.unpaused(ctx, slices.Compact(queues))
	return slices.Clone(queues), s.explain("list served queues", err)
}

// Waits finds the first of some queues in which a message has been ready for longer than
// that, and is still. What operations put back is left out: it may wait. It is empty where
// there is none.
func (s *Store) Waits(ctx context.Context, queues []string, longer time.Duration) (queue string, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		queue = ""
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		for _, name := range queues {
			found := func(Row) error { queue = name; return nil }
			err := q.Query(ctx, s.SQL.Waiting, []any{name, now - longer.Milliseconds()}, found)
			if err != nil || queue != "" {
				return err
			}
		}
		return nil
	})
	return queue, s.explain("look for what waits", err)
}
