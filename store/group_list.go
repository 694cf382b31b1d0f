package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Groups lists the groups by their fingerprints, those without letters as well, until
// their retention is over: of a fault whose letters have all been retried somebody may
// still want to say that it is gone. now is the store's clock. It counts by an index.
func (s *Store) Groups(ctx context.Context) (gs []Group, now time.Time, err error) {
	l := &groupListing{store: s}
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		*l = groupListing{store: s}
		return l.begin(ctx, q)
	})
	if err == nil && s.SQL.GroupCounts == "" {
		err = l.countEach(ctx)
	}
	if err == nil {
		err = s.Engine.Read(ctx, l.sample)
	}
	if err != nil {
		return nil, now, s.explain("list groups", err)
	}
	return l.groups(), l.now, nil
}

// A groupListing is a list of groups in the making.
type groupListing struct {
	store   *Store
	now     time.Time
	said    map[string]*Group // what is known beside the letters
	bounds  []any
	tallies []tally
	heads   map[int64]Letter // the first and the last of each
}

// begin reads what one statement tells, and counts if one does.
func (l *groupListing) begin(ctx context.Context, q Session) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	l.now = fromMillis(now)
	if l.said, err = l.store.groupRows(ctx, q, ""); err != nil {
		return err
	}
	if l.bounds, err = l.store.hourBounds(ctx, q, now); err != nil {
		return err
	}
	if l.store.SQL.GroupCounts == "" {
		return l.marks(ctx, q)
	}
	return q.Query(ctx, l.store.SQL.GroupCounts, l.bounds, func(r Row) error {
		var t tally
		err := r.Scan(append([]any{&t.mark}, t.dest()...)...)
		l.tallies = append(l.tallies, t)
		return err
	})
}

// marks finds the fingerprints, for a database that does not look up a range of an index
// whose bounds are in another table: there each group is counted by itself.
func (l *groupListing) marks(ctx context.Context, q Session) error {
	next, args := l.store.SQL.GroupFirst, []any(nil)
	for {
		var mark *string
		err := q.Query(ctx, next, args, func(r Row) error { return r.Scan(&mark) })
		if err != nil || mark == nil {
			return err
		}
		l.tallies = append(l.tallies, tally{mark: *mark})
		next, args = l.store.SQL.GroupNext, []any{*mark}
	}
}

// countEach counts group by group, in two sessions side by side: as many as an engine has
// for reading.
func (l *groupListing) countEach(ctx context.Context) error {
	var (
		next   atomic.Int64
		errs   [2]error
		counts sync.WaitGroup
	)
	for i := range errs {
		counts.Go(func() {
			at := next.Add(1) - 1 // which is not lost when the engine tries again
			errs[i] = l.store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
				return l.count(ctx, q, &at, &next)
			})
		})
	}
	counts.Wait()
	return errors.Join(errs[:]...)
}

// count counts the group at a place, and the next ones.
func (l *groupListing) count(ctx context.Context, q Session, at *int64, next *atomic.Int64) (err error) {
	for ; int(*at) < len(l.tallies); *at = next.Add(1) - 1 {
		if l.tallies[*at], err = l.store.tallyOf(ctx, q, l.tallies[*at].mark, l.bounds); err != nil {
			return err
		}
	}
	return nil
}

// sample reads the first and the last letter of each group that still has some.
func (l *groupListing) sample(ctx context.Context, q Session) (err error) {
	l.tallies = slices.DeleteFunc(l.tallies, func(t tally) bool { return t.last == 0 })
	l.heads, err = l.store.samples(ctx, q, l.tallies)
	return err
}

// groups are the result.
func (l *groupListing) groups() (out []Group) {
	for _, t := range l.tallies {
		g, there := l.said[t.mark]
		if !there { // its row was purged, and letters were restored
			g = &Group{Fingerprint: t.mark, State: GroupOpen}
			l.said[t.mark] = g
		}
		g.count(t, l.heads)
	}
	for _, g := range l.said {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	return out
}
