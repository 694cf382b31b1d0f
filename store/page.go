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
	// Searched is how many letters were looked at where LetterFilter.Reach or Within ended
	// the search before the page was full, and it goes on from Next; else 0.
	Searched int
}

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
	w, err := s.search(ctx, f)
	p := &paging{search: w}
	for err == nil && !p.done {
		err = p.step(ctx)
	}
	if err != nil {
		return LetterPage{}, s.explain("list dead letters", err)
	}
	return p.page, nil
}

// paging is one page in the making.
type paging struct {
	*search
	page  LetterPage
	bytes int // of the bodies in page
	done  bool
}

// step looks through one window.
func (p *paging) step(ctx context.Context) error {
	if err := p.next(ctx); err != nil {
		return err
	}
	if err := p.read(ctx, p.end); err != nil {
		return err
	}
	if p.done || p.last() {
		p.done = true
	} else if p.pass() {
		p.done, p.page.Next, p.page.Searched = true, p.end, p.searched
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
	err = q.Query(ctx, stmt+s.bySeq(f)+where.clause()+" order by seq limit ?", args, func(r Row) error {
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

// A LetterTotal is how many letters a filter chooses.
type LetterTotal struct {
	N     int64
	Exact bool // else there are at least N
}

// TotalLetters counts the letters that a filter chooses, up to most; 0 means all. It
// stops earlier where LetterFilter.Reach or Within says so.
func (s *Store) TotalLetters(ctx context.Context, f LetterFilter, most int64) (LetterTotal, error) {
	if err := f.Check(); err != nil {
		return LetterTotal{}, fmt.Errorf("count dead letters: %w", err)
	}
	if !f.exact() {
		return s.totalRead(ctx, f, most)
	}
	if most <= 0 {
		most = math.MaxInt64 - 1
	}
	c, err := s.total(ctx, f, most)
	return c, s.explain("count dead letters", err)
}

// total counts what the database judges, all at once where nothing bounds the search.
func (s *Store) total(ctx context.Context, f LetterFilter, most int64) (c LetterTotal, err error) {
	if f.Reach <= 0 && f.Within <= 0 {
		c.N, err = s.countUpTo(ctx, f, most+1)
		return c.upTo(most), err
	}
	w, err := s.search(ctx, f)
	for err == nil {
		if err = w.next(ctx); err != nil {
			break
		}
		part := w.filter
		part.Until = w.end
		var n int64
		if n, err = s.countUpTo(ctx, part, most+1-c.N); err != nil {
			break
		}
		if c.N += n; c.N > most || w.last() {
			return c.upTo(most), nil
		}
		if w.pass() {
			return c, nil
		}
	}
	return LetterTotal{}, err
}

// upTo is a count that is exact, unless there are more than most.
func (c LetterTotal) upTo(most int64) LetterTotal {
	if c.N > most {
		return LetterTotal{N: most}
	}
	return LetterTotal{N: c.N, Exact: true}
}

// countUpTo counts by one statement.
func (s *Store) countUpTo(ctx context.Context, f LetterFilter, most int64) (n int64, err error) {
	where := s.where(f)
	stmt := "select count(*) from (" + s.SQL.LetterSeqs + where.clause() + " limit ?) chosen"
	err = s.look(ctx, stmt, append(where.args, most), func(r Row) error { return r.Scan(&n) })
	return n, err
}

// totalRead counts by reading.
func (s *Store) totalRead(ctx context.Context, f LetterFilter, most int64) (LetterTotal, error) {
	var c LetterTotal
	f.Limit, f.Bare = 1000, true
	f, err := s.bound(ctx, f.timer())
	if err != nil {
		return c, s.explain("count dead letters", err)
	}
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
