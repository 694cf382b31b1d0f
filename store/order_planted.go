//go:build planted_settle_last

package store

import "context"

// do is a planted fault (package internal/safety): the effects run first, and then
// the units are settled. An effect that ends the transaction is committed without
// its settlement, and one whose claim is lost runs all the same.
func (s *span) do(ctx context.Context) (fate, error) {
	s.culprit = nobody
	w := &Write{}
	if s.group.saved {
		w.Before = append(w.Before, s.group.store.SQL.Release)
	}
	if s.group.saved = s.nested; s.nested {
		w.Before = append(w.Before, s.group.store.SQL.Savepoint)
	}
	if err := s.conn.Do(ctx, w); err != nil {
		return wrecked, err
	}
	if f := s.effects(ctx, s.units); f != kept {
		return f, nil
	}
	standing, err := s.settle(ctx)
	s.ran = standing
	return kept, err
}
