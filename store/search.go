package store

import (
	"context"
	"math"
	"time"
)

// Bounds of how many letters one statement looks at where no index leads to what the
// filter wants, so that none runs for long. A search begins with few, since most end soon.
const (
	window      = 20_000
	firstWindow = 1000
	leastWindow = 500
)

// A search goes through letters in windows, until the bounds of its filter end it.
type search struct {
	store    *Store
	filter   LetterFilter // Past moves on
	size     int          // of the next window
	end      int64        // of this window; 0 means no bound
	looked   int          // letters in this window; 0 means that it has all that are left
	began    time.Time    // this window
	searched int          // letters in the windows before
}

// search begins one.
func (s *Store) search(ctx context.Context, f LetterFilter) (*search, error) {
	f, err := s.bound(ctx, f.timer())
	return &search{store: s, filter: f, size: firstWindow}, err
}

// timer starts the time that Within gives, once.
func (f LetterFilter) timer() LetterFilter {
	if f.Within > 0 && f.ends.IsZero() {
		f.ends = time.Now().Add(f.Within)
	}
	return f
}

// next finds the next window, which is all letters where an index leads.
func (w *search) next(ctx context.Context) error {
	w.end, w.looked, w.began = w.filter.Until, 0, time.Now()
	if w.filter.straight() {
		return nil
	}
	size := w.size
	if w.filter.Reach > 0 {
		size = min(size, w.filter.Reach-w.searched)
	}
	seq, err := w.store.windowEnd(ctx, w.filter, size)
	if err == nil && seq > 0 {
		w.end, w.looked = seq, size
	}
	return err
}

// last reports whether no letters are left behind this window.
func (w *search) last() bool { return w.looked == 0 }

// pass goes on behind this window. It reports whether the search is over although letters
// are left.
func (w *search) pass() (over bool) {
	w.searched, w.filter.Past = w.searched+w.looked, w.end
	if w.filter.Reach > 0 && w.searched >= w.filter.Reach {
		return true
	}
	w.size = min(2*w.size, window)
	if w.filter.ends.IsZero() {
		return false
	}
	left := time.Until(w.filter.ends)
	if took := time.Since(w.began); took > 0 { // the next one is to end in time
		w.size = max(leastWindow, min(w.size, int(float64(w.looked)*float64(left)/float64(took))))
	}
	return left <= 0
}

// windowEnd is the sequence of the last letter of the next window, or 0 where fewer
// letters than that are left.
func (s *Store) windowEnd(ctx context.Context, f LetterFilter, size int) (seq int64, err error) {
	led := f.led()
	stmt := s.SQL.LetterSeqs + s.bySeq(f) + led.clause() + " order by seq limit 1 offset ?"
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		seq = 0
		return q.Query(ctx, stmt, append(led.args, size-1), func(r Row) error { return r.Scan(&seq) })
	})
	return seq, err
}

// bySeq is the hint that letters are walked in the order of their sequences.
func (s *Store) bySeq(f LetterFilter) string {
	if !f.walked() {
		return ""
	}
	return s.SQL.BySeq
}

// spanMost is how many letters are gone through in the index of times.
const spanMost = 100_000

// Bound is a filter whose bounds of time have been looked up, for who asks for page after
// page of it: each would look them up again. Letters that die later are not among them.
func (s *Store) Bound(ctx context.Context, f LetterFilter) (LetterFilter, error) {
	f, err := s.bound(ctx, f)
	return f, s.explain("list dead letters", err)
}

// bound turns the bounds of time of a filter into bounds of sequences: those of the first
// and the last letter between the times, which the index of times alone tells. It is left
// out where there are many letters between them: a search meets some soon, or ends in time.
// Times grow with sequences, but for transactions side by side, a clock that is set back,
// and letters that were imported: the filter still asks for the time of each letter.
func (s *Store) bound(ctx context.Context, f LetterFilter) (LetterFilter, error) {
	if !f.timed() || f.bounded {
		return f, nil
	}
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		f, err = s.boundIn(ctx, q, f)
		return err
	})
	return f, err
}

// boundIn is bound in a session.
func (s *Store) boundIn(ctx context.Context, q Session, f LetterFilter) (LetterFilter, error) {
	if !f.timed() || f.bounded || len(f.IDs) > 0 {
		return f, nil
	}
	c := f.dead()
	f.times(&c)
	var (
		n           int
		first, last *int64
	)
	err := q.Query(ctx, s.SQL.LetterSpan+c.clause()+" limit ?) between_them", append(c.args, spanMost), func(r Row) error {
		return r.Scan(&n, &first, &last)
	})
	f.bounded = true
	if err != nil || n >= spanMost {
		return f, err
	}
	if first == nil || last == nil {
		f.Past = math.MaxInt64 // there are none
		return f, nil
	}
	f.Past = max(f.Past, *first-1)
	if f.Until == 0 || *last < f.Until {
		f.Until = *last
	}
	return f, nil
}
