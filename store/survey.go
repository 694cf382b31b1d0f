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
// wholeShare of the time, or half of the time where no line is known.

const (
	// sliceTime is how long a slice is to take, beyond the least that one takes.
	sliceTime = 10 * time.Millisecond
	// firstSlice is the width of the first slice of a round, in milliseconds of due times.
	firstSlice = 100
	// leastPart is how many slices as wide as the narrowest make up what a round has behind it: so it
	// comes to its end whatever they take.
	leastPart = 16
	// halfShare is wholeShare for a round where no line is known.
	halfShare = 2
	// lookTime bounds one look. It is less than a server has to answer, whose silence means more.
	lookTime = 5 * time.Second
)

// A round is a look at all that stands before the marks.
type round struct {
	began   time.Time     // zero: the next survey begins one
	all     bool          // it takes half of the time
	top     int64         // where it began
	below   int64         // what is due from there on has been looked at
	width   int64         // of the next slice
	part    int64         // leastPart, or more since one was too wide lately
	slices  int           // until now
	took    time.Duration // all of them
	least   time.Duration // the shortest of them
	resumes time.Time     // after a pause
}

// goesOn is the round as it goes on, or a new one.
func (r round) goesOn(now time.Time, marks []Mark) round {
	if r.began.IsZero() {
		r.began, r.width, r.part = now, firstSlice, leastPart
		for _, m := range marks {
			r.top = max(r.top, m.Due)
		}
		r.below = r.top
	}
	return r
}

// over reports whether it has come to the start.
func (r *round) over() bool { return r.below == math.MinInt64 }

// cost is what it has taken beyond what it would take where nothing stands.
func (r *round) cost() time.Duration { return r.took - time.Duration(r.slices)*r.least }

// slice is what is to be looked at next: due times from low, and before high.
func (r *round) slice() (low, high int64) {
	if low = r.below - r.width; low <= 0 { // 1970
		low = math.MinInt64
	}
	return low, r.below
}

// sliced notes how long a slice took.
func (r *round) sliced(low int64, took time.Duration) {
	if r.slices++; r.slices == 1 || took < r.least {
		r.least = took
	}
	r.below, r.took = low, r.took+took
	if r.over() {
		return
	}
	switch more := took - r.least; {
	case more < sliceTime/2:
		r.width *= 2
	case more > sliceTime:
		r.width /= 2
	}
	r.width, r.part = max(r.width, (r.top-r.below)/r.part, 1), max(r.part/2, leastPart)
}

// tooWide notes that a slice could not be looked at.
func (r *round) tooWide(took time.Duration) {
	r.took += took
	r.part, r.width = 4*r.part, max(r.width/16, 1)
}

// A survey is one look for what has come to stand before the marks of a queue. It is its goroutine's own until it
// has ended.
type survey struct {
	queue  string
	began  time.Time
	marks  []Mark
	line   []Mark        // where it begins, by priority; a priority without one begins at the start
	known  bool          // there is a line
	round  round         // goes on
	budget time.Duration // for slices; 0: for none
	share  time.Duration // as wholeShare, of these slices
	ended  chan struct{}
	found  []Mark // the first that is due of each priority, in each part
	lost   bool   // the line was not looked at
}

// run looks from the line on, if there is one, and at some slices.
func (s *survey) run(ctx context.Context, store *Store) {
	if s.known {
		s.lost = s.lookFromTheLine(ctx, store) != nil
	}
	r := &s.round
	for began := time.Now(); !r.over() && ctx.Err() == nil && time.Since(began) < s.budget; {
		at := time.Now()
		low, high := r.slice()
		if err := s.look(ctx, store, func(m Mark) (int64, int64) { return low, min(high, m.Due) }); err != nil {
			r.tooWide(time.Since(at))
			return
		}
		r.sliced(low, time.Since(at))
	}
}

// lookFirst looks from the line on before anything is claimed; what is left to do aside are slices.
func (s *survey) lookFirst(ctx context.Context, store *Store, m *marks) {
	if s.lookFromTheLine(ctx, store) != nil {
		m.oldest = 0
	}
	m.goBack(s.found)
	s.known, s.found = false, nil
}

// lookFromTheLine looks for what stands between the line and the marks.
func (s *survey) lookFromTheLine(ctx context.Context, store *Store) error {
	return s.look(ctx, store, func(m Mark) (low, high int64) {
		i := slices.IndexFunc(s.line, func(l Mark) bool { return l.Priority == m.Priority })
		if i < 0 {
			return math.MinInt64, m.Due
		}
		return s.line[i].Due, m.Due
	})
}

// look looks for the first ready message of each priority, of those that are due between two times. There
// is one look at a time, since there are few connections for reading.
func (s *survey) look(ctx context.Context, store *Store, part func(Mark) (low, high int64)) error {
	select {
	case store.surveys <- struct{}{}:
		defer func() { <-store.surveys }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
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
func (m *marks) gather() {
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
	m.goBack(s.found)
	spent := s.round.took - m.round.took
	if m.round = s.round; spent > 0 {
		m.round.resumes = s.began.Add(s.share * spent)
	}
	over := m.round.over()
	if over {
		m.start, m.cost = m.round.began, m.round.cost()
	}
	if over || m.again && !m.round.all {
		m.round, m.again = round{all: m.again, resumes: m.round.resumes}, false
	}
}

// goBack moves marks to earlier times, until a claim has taken all that is there.
func (m *marks) goBack(found []Mark) {
	for _, to := range found {
		i := slices.IndexFunc(m.at, func(old Mark) bool { return old.Priority == to.Priority })
		if i >= 0 && to.Due < m.at[i].Due {
			if !slices.ContainsFunc(m.former, func(f Mark) bool { return f.Priority == to.Priority }) {
				m.former = append(m.former, m.at[i])
			}
			m.at[i] = to
		}
		m.moments.goBack(to)
	}
}

// goForward moves marks to where they were before they went back, of the priorities above one: a claim has taken all
// that is there.
func (m *marks) goForward(above int) {
	m.former = slices.DeleteFunc(m.former, func(f Mark) bool {
		if f.Priority <= above {
			return false
		}
		m.set(f, false)
		return true
	})
}
