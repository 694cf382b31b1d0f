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
	mostParts = 1 << 40
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
	least   time.Duration // what the shortest slice took
	cost    time.Duration // what slices took beyond that, where it was more than waiting
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

// slice is what is to be looked at next: due times from low, and before high.
func (r *round) slice() (low, high int64) {
	if low = r.below - r.width; low <= 0 { // 1970
		low = math.MinInt64
	}
	return low, r.below
}

// sliced notes how long a slice took.
func (r *round) sliced(low int64, took time.Duration) {
	if r.least == 0 || took < r.least {
		r.least = took
	}
	more := took - r.least
	if r.below = low; more >= sliceTime/2 {
		r.cost += more
	}
	if r.over() {
		return
	}
	switch {
	case more < sliceTime/2:
		r.width *= 2
	case more > sliceTime:
		r.width /= 2
	}
	r.width, r.part = max(r.width, (r.top-r.below)/r.part, 1), max(r.part/2, leastPart)
}

// tooWide notes that a slice could not be looked at.
func (r *round) tooWide(took time.Duration) {
	r.cost += took
	r.part, r.width = min(4*r.part, mostParts), max(r.width/16, 1)
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
	spent  time.Duration // on slices
	ended  chan struct{}
	found  []Mark // the first that is due of each priority, in each part
	lost   bool   // the line was not looked at
}

// run looks from the line on, if there is one, and at some slices. There is one look aside at a time, since there are
// few connections for reading.
func (s *survey) run(ctx context.Context, store *Store) {
	alone := func(look func() error) error {
		select {
		case store.surveys <- struct{}{}:
			defer func() { <-store.surveys }()
			return look()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.known {
		s.lost = alone(func() error { return s.lookFromTheLine(ctx, store) }) != nil
	}
	for s.spent < s.budget && !s.round.over() {
		if alone(func() error { return s.lookAtASlice(ctx, store) }) != nil {
			return
		}
	}
}

// lookAtASlice goes on with the round.
func (s *survey) lookAtASlice(ctx context.Context, store *Store) error {
	low, high := s.round.slice()
	began := time.Now()
	err := s.look(ctx, store, func(m Mark) (int64, int64) { return low, min(high, m.Due) })
	took := time.Since(began)
	if s.spent += took; err != nil {
		s.round.tooWide(took)
	} else {
		s.round.sliced(low, took)
	}
	return err
}

// lookFirst looks from the line on before anything is claimed; what is left to do aside are slices.
func (s *survey) lookFirst(ctx context.Context, store *Store, m *marks) error {
	err := s.lookFromTheLine(ctx, store)
	if err != nil {
		m.oldest = 0
	}
	m.goBack(s.found)
	s.known, s.found = false, nil
	return err
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

// look looks for the first ready message of each priority, of those that are due between two times.
func (s *survey) look(ctx context.Context, store *Store, part func(Mark) (low, high int64)) error {
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

// gather learns from a survey that has ended. A round is not taken to cost less than leastCost.
func (m *marks) gather(leastCost time.Duration) {
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
	if m.round.began.Equal(s.round.began) { // else a claim has begun at the start since
		m.round = s.round
	}
	if s.spent > 0 {
		m.round.resumes = s.began.Add(s.share * s.spent)
	}
	over := m.round.over()
	if over {
		m.cost = max(m.round.cost, leastCost)
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
