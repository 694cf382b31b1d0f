package store

import (
	"context"
	"math"
	"slices"
	"time"
)

// What stands before the marks is looked for aside where the database keeps much that was deleted: a claim
// that begins there would walk over it, and nothing else would be claimed meanwhile. What a survey finds moves the
// marks back, so that the next claim takes it.
//
// A survey begins at the line (horizon.go), in each poll interval. All that stands before the line
// is looked at by rounds, from the marks to the start, in slices of the due times: as often as costs one part in
// wholeShare of the time, or without a pause where no line is known.

// How long a slice is to take, and how wide the first one of a round is, in milliseconds of due times.
const (
	sliceTime  = 10 * time.Millisecond
	firstSlice = 100
)

// A round is a look at all that stands before the marks.
type round struct {
	began   time.Time     // zero: the next survey begins one
	all     bool          // it makes no pauses
	below   int64         // what is due from there on has been looked at
	width   int64         // of the next slice
	cost    time.Duration // until now
	resumes time.Time     // after a pause
}

// goesOn is the round as it goes on, or a new one.
func (r round) goesOn(now time.Time, marks []Mark) round {
	if r.began.IsZero() {
		r.began, r.width = now, firstSlice
		for _, m := range marks {
			r.below = max(r.below, m.Due)
		}
	}
	return r
}

// over reports whether it has come to the start.
func (r *round) over() bool { return r.below == math.MinInt64 }

// slice is what is to be looked at next: due times from low, and before high.
func (r *round) slice() (low, high int64) {
	if low = r.below - r.width; low <= 0 { // 1970
		low = math.MinInt64
	}
	return low, r.below
}

// sliced notes how long a slice took.
func (r *round) sliced(low int64, took time.Duration) {
	r.below, r.cost = low, r.cost+took
	switch {
	case took < sliceTime/2:
		r.width *= 2
	case took > sliceTime:
		r.width = max(r.width/2, 1)
	}
}

// tooWide notes that a slice could not be looked at.
func (r *round) tooWide() { r.width = max(r.width/16, 1) }

// A survey is one look for what has come to stand before the marks of a queue. It is its goroutine's own until it
// has ended.
type survey struct {
	queue  string
	marks  []Mark
	line   []Mark        // where it begins, by priority; without one it begins at the start
	known  bool          // there is a line
	round  round         // goes on
	budget time.Duration // for slices
	ended  chan struct{}
	found  []Mark // the first that is due of each priority, in each part
	lost   bool   // the line was not looked at
}

// run looks from the line on, and at some slices.
func (s *survey) run(ctx context.Context, store *Store) {
	if s.known {
		err := s.look(ctx, store, func(m Mark) (low, high int64) {
			i := slices.IndexFunc(s.line, func(l Mark) bool { return l.Priority == m.Priority })
			if i < 0 {
				return math.MinInt64, m.Due
			}
			return s.line[i].Due, m.Due
		})
		s.lost = err != nil
	}
	r := &s.round
	for began := time.Now(); !r.over() && ctx.Err() == nil && (r.all || time.Since(began) < s.budget); {
		at := time.Now()
		low, high := r.slice()
		if err := s.look(ctx, store, func(m Mark) (int64, int64) { return low, min(high, m.Due) }); err != nil {
			r.tooWide()
			return
		}
		r.sliced(low, time.Since(at))
	}
}

// look looks for the first ready message of each priority, of those that are due between two times.
func (s *survey) look(ctx context.Context, store *Store, part func(Mark) (low, high int64)) error {
	var found []Mark
	err := store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		found = nil
		for _, m := range s.marks {
			low, high := part(m)
			if low >= high {
				continue
			}
			err := q.Query(ctx, store.SQL.ReadyBetween, []any{s.queue, m.Priority, low, high}, func(r Row) error {
				first := Mark{Priority: m.Priority}
				err := r.Scan(&first.Due)
				found = append(found, first)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.found = append(s.found, found...)
	return err
}

// gather learns from a survey that has ended.
func (m *marks) gather(share time.Duration) {
	s := m.survey
	if s == nil {
		return
	}
	select {
	case <-s.ended:
	default:
		return
	}
	m.survey = nil
	if s.lost {
		m.oldest = 0 // what has been done since is not known to be seen
	}
	for _, found := range s.found {
		m.goBack(found)
	}
	pause := share * (s.round.cost - m.round.cost)
	if m.round = s.round; m.round.over() {
		m.start, m.cost, m.round = m.round.began, m.round.cost, round{}
	}
	m.round.resumes = time.Now().Add(pause)
}

// goBack moves a mark to an earlier time.
func (m *marks) goBack(to Mark) {
	for i, old := range m.at {
		if old.Priority == to.Priority && to.Due < old.Due {
			m.at[i] = to
		}
	}
}
