package store

import (
	"context"
	"fmt"
	"math"
)

// A LetterPage is a part of a list of letters.
type LetterPage struct {
	Letters []Letter
	// Next is where the next page begins, as LetterFilter.Past; 0 means that this is the
	// last page.
	Next int64
	// Searched is how many letters were looked at where LetterFilter.Reach ended the
	// search before the page was full; else 0.
	Searched int
}

// window is how many letters one statement looks at where no index leads to what the
// terms want, so that none runs for long.
const window = 20_000

// pageOf is how many letters a page has that names no limit.
const pageOf = 100

// size is how many letters a page has.
func (f LetterFilter) size() int {
	if f.Limit <= 0 {
		return pageOf
	}
	return f.Limit
}

// Bounds of bodies in memory. A page ends with the letter by which it has pageBytes of
// them; a statement reads few letters, since some drivers receive all of a result.
const (
	pageBytes = 4 << 20
	bodyBatch = 16
)

// LetterPage lists dead letters in the order in which they died, without their attempts.
// With bodies, a page may end before it has as many letters as the filter's limit: Next
// tells whether there are more.
// Errors: driver.ErrInvalid for a filter that fails its Check.
func (s *Store) LetterPage(ctx context.Context, f LetterFilter) (LetterPage, error) {
	if err := f.Check(); err != nil {
		return LetterPage{}, fmt.Errorf("list dead letters: %w", err)
	}
	f.Limit = f.size()
	p := &paging{store: s, filter: f}
	for !p.done {
		if err := p.step(ctx); err != nil {
			return LetterPage{}, s.explain("list dead letters", err)
		}
	}
	return p.page, nil
}

// paging is one page in the making.
type paging struct {
	store    *Store
	filter   LetterFilter // Past moves on
	page     LetterPage
	searched int
	bytes    int // of the bodies in page
	done     bool
}

// step looks through one window, or through all if an index leads.
func (p *paging) step(ctx context.Context) error {
	end, looked := p.filter.Until, 0
	if !p.filter.straight() {
		size := window
		if p.filter.Reach > 0 {
			size = min(size, p.filter.Reach-p.searched)
		}
		seq, err := p.store.windowEnd(ctx, p.filter, size)
		if err != nil {
			return err
		}
		if seq > 0 {
			end, looked = seq, size
		}
	}
	if err := p.read(ctx, end); err != nil {
		return err
	}
	if p.done || looked == 0 { // the page is full, or nothing is left
		p.done = true
		return nil
	}
	p.searched, p.filter.Past = p.searched+looked, end
	if p.filter.Reach > 0 && p.searched >= p.filter.Reach {
		p.done, p.page.Next, p.page.Searched = true, end, p.searched
	}
	return nil
}

// read takes letters up to a sequence, until the page is full and one more is seen,
// which tells that there is another page.
func (p *paging) read(ctx context.Context, end int64) error {
	f := p.filter
	f.Until = end
	for {
		most := f.batch(f.Limit + 1 - len(p.page.Letters))
		got, err := p.store.readLetters(ctx, f, most)
		if err != nil {
			return err
		}
		for _, l := range got.letters {
			if n := len(p.page.Letters); n == f.Limit || p.bytes >= pageBytes {
				p.done, p.page.Next = true, p.page.Letters[n-1].Seq
				return nil
			}
			p.page.Letters, p.bytes = append(p.page.Letters, l), p.bytes+len(l.Body)
		}
		if got.looked < most && !got.full() {
			return nil
		}
		f.Past = got.past
	}
}

// batch is how many letters a statement reads where the page wants so many more. Letters
// that the database cannot judge are judged here, some at a time.
func (f LetterFilter) batch(most int) int {
	switch {
	case f.exact() && f.Bare:
		return most
	case f.exact():
		return min(most, bodyBatch)
	case f.Bare:
		return max(most, pageOf)
	}
	return pageOf
}

// A reading is what one statement has found.
type reading struct {
	letters []Letter // those that fit
	looked  int      // how many were judged
	past    int64    // the last of them
	bytes   int      // of the bodies in letters
}

// full reports whether no more bodies are kept: the rest of the rows is passed over.
func (r *reading) full() bool { return r.bytes >= pageBytes }

// take judges a letter.
func (r *reading) take(f LetterFilter, l Letter) {
	r.looked, r.past = r.looked+1, l.Seq
	if !f.fits(l) {
		return
	}
	if f.Bare {
		l.Body = nil
	}
	r.letters, r.bytes = append(r.letters, l), r.bytes+len(l.Body)
}

func (s *Store) readLetters(ctx context.Context, f LetterFilter, most int) (out reading, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		out, err = s.readIn(ctx, q, f, most)
		return err
	})
	return out, err
}

// readIn reads letters in a session.
func (s *Store) readIn(ctx context.Context, q Session, f LetterFilter, most int) (out reading, err error) {
	where, stmt := s.where(f), s.SQL.LettersBare
	if f.bodies() {
		stmt = s.SQL.Letters
	}
	args := append(where.args, most)
	err = q.Query(ctx, stmt+where.clause()+" order by seq limit ?", args, func(r Row) error {
		if out.full() {
			return nil
		}
		l, err := scanLetter(r)
		if err == nil {
			out.take(f, l)
		}
		return err
	})
	return out, err
}

// lettersIn reads the first letters that fit in a session.
func (s *Store) lettersIn(ctx context.Context, q Session, f LetterFilter, most int) ([]Letter, error) {
	out, err := s.readIn(ctx, q, f, most)
	return out.letters, err
}

// windowEnd is the sequence of the last letter of the next window, or 0 where fewer
// letters than that are left.
func (s *Store) windowEnd(ctx context.Context, f LetterFilter, size int) (seq int64, err error) {
	led := f.led()
	stmt := s.SQL.LetterSeqs + led.clause() + " order by seq limit 1 offset ?"
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		seq = 0
		return q.Query(ctx, stmt, append(led.args, size-1), func(r Row) error { return r.Scan(&seq) })
	})
	return seq, err
}

// A LetterTotal is how many letters a filter chooses.
type LetterTotal struct {
	N     int64
	Exact bool // else there are at least N
}

// TotalLetters counts the letters that a filter chooses, up to most; 0 means all. It
// stops earlier where LetterFilter.Reach says so.
func (s *Store) TotalLetters(ctx context.Context, f LetterFilter, most int64) (LetterTotal, error) {
	if err := f.Check(); err != nil {
		return LetterTotal{}, fmt.Errorf("count dead letters: %w", err)
	}
	if !f.exact() || f.Reach > 0 && !f.straight() {
		return s.totalRead(ctx, f, most)
	}
	where := s.where(f)
	if most <= 0 {
		most = math.MaxInt64 - 1
	}
	stmt := s.SQL.LetterSeqs + where.clause() + " limit ?"
	c := LetterTotal{Exact: true}
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, "select count(*) from ("+stmt+") chosen", append(where.args, most+1),
			func(r Row) error { return r.Scan(&c.N) })
	})
	if c.N > most {
		c = LetterTotal{N: most}
	}
	return c, s.explain("count dead letters", err)
}

// totalRead counts by reading.
func (s *Store) totalRead(ctx context.Context, f LetterFilter, most int64) (LetterTotal, error) {
	var c LetterTotal
	f.Limit, f.Bare = 1000, true
	for {
		page, err := s.LetterPage(ctx, f)
		if err != nil {
			return c, err
		}
		c.N += int64(len(page.Letters))
		switch {
		case most > 0 && c.N > most:
			return LetterTotal{N: most}, nil
		case page.Searched > 0:
			return c, nil
		case page.Next == 0:
			return LetterTotal{N: c.N, Exact: true}, nil
		}
		f.Past = page.Next
	}
}
