package store

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// GroupStates counts the groups that have dead letters, by their state. It is cheap: it
// looks at one letter of each.
func (s *Store) GroupStates(ctx context.Context) (map[GroupState]int64, error) {
	var out map[GroupState]int64
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		out = map[GroupState]int64{}
		return q.Query(ctx, s.SQL.GroupStates, nil, func(r Row) error {
			var state string
			var n int64
			err := r.Scan(&state, &n)
			out[GroupState(state)] = n
			return err
		})
	})
	return out, s.explain("count groups", err)
}

// FindGroups returns the groups whose fingerprints begin with a text, at most two: who
// looks for one knows then that there are several. Only one that is alone has what its
// letters tell.
func (s *Store) FindGroups(ctx context.Context, prefix string) (gs []Group, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		gs, err = s.findGroups(ctx, q, prefix)
		return err
	})
	return gs, s.explain("find group", err)
}

func (s *Store) findGroups(ctx context.Context, q Session, prefix string) (gs []Group, err error) {
	const most = 2
	said, err := s.groupRows(ctx, q, " where fingerprint >= ? order by fingerprint limit 2", prefix)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(said, func(mark string, _ *Group) bool { return !strings.HasPrefix(mark, prefix) })
	next, from := s.SQL.GroupFirst+" and fingerprint >= ?", prefix
	for range most { // letters whose group's row was purged
		var mark *string
		err := q.Query(ctx, next, []any{from}, func(r Row) error { return r.Scan(&mark) })
		if err != nil {
			return nil, err
		}
		if mark == nil || !strings.HasPrefix(*mark, prefix) {
			break
		}
		if said[*mark] == nil {
			said[*mark] = &Group{Fingerprint: *mark, State: GroupOpen}
		}
		next, from = s.SQL.GroupNext, *mark
	}
	for _, mark := range slices.Sorted(maps.Keys(said)) {
		gs = append(gs, *said[mark])
	}
	if len(gs) != 1 {
		return gs[:min(most, len(gs))], nil
	}
	return gs, s.tell(ctx, q, &gs[0])
}

// tell adds to a group what its letters tell.
func (s *Store) tell(ctx context.Context, q Session, g *Group) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	bounds, err := s.hourBounds(ctx, q, now)
	if err != nil {
		return err
	}
	first := ""
	err = q.Query(ctx, s.SQL.GroupFirst+" and fingerprint = ?", []any{g.Fingerprint}, func(r Row) error {
		var mark *string
		err := r.Scan(&mark)
		if mark != nil {
			first = *mark
		}
		return err
	})
	if err != nil || first == "" {
		return err // none are left
	}
	t, err := s.tallyOf(ctx, q, g.Fingerprint, bounds)
	if err != nil {
		return err
	}
	samples, err := s.samples(ctx, q, []tally{t})
	if err == nil {
		g.count(t, samples)
	}
	return err
}
