package store

import (
	"context"
	"fmt"
	"math"
)

// Bounds of how much is done at a time to write the letters of an operation down.
const (
	freezeRead  = 200  // letters that are read, where the database cannot judge them
	freezeReach = 5000 // letters that are looked at, where no index leads to what is wanted
)

// Freeze writes down the next letters that are meant.
func (s *stride) Freeze(ctx context.Context, most int) (n int, past int64, err error) {
	f := s.o.Filter
	f.Past, f.Until, f.Reach = s.o.ledger.Past, s.o.ledger.Until, 0
	if f, err = s.narrow(ctx, f); err != nil {
		return 0, 0, err
	}
	if f.exact() {
		return s.copyLetters(ctx, f, most)
	}
	return s.readLetters(ctx, f, most)
}

// narrow ends a filter at the window that may be looked through at a time.
func (s *stride) narrow(ctx context.Context, f LetterFilter) (LetterFilter, error) {
	if f.straight() {
		return f, nil
	}
	within, err := s.store.boundIn(ctx, s.q, f)
	if err != nil {
		return f, err
	}
	if within.Past >= within.Until {
		f.Past = math.MaxInt64 // nothing is left between the times
		return f, nil
	}
	f = within
	led := f.led()
	stmt := s.store.SQL.LetterSeqs + s.store.bySeq(f) + led.clause() +
		fmt.Sprintf(" order by seq limit 1 offset %d", freezeReach-1)
	err = s.q.Query(ctx, stmt, led.args, func(r Row) error { return r.Scan(&f.Until) })
	return f, err
}

// copyLetters writes down letters that the database chooses by itself. It returns how many
// they are, and the last letter that has been judged.
func (s *stride) copyLetters(ctx context.Context, f LetterFilter, most int) (n int, past int64, err error) {
	where := s.store.where(f)
	stmt := s.store.SQL.TargetsIn + s.store.bySeq(f) + where.clause() + " order by seq limit ?"
	count, err := s.q.Exec(ctx, stmt, append(append([]any{s.o.seq}, where.args...), most)...)
	if err != nil || int(count) < most {
		return int(count), f.Until, err
	}
	err = s.q.Query(ctx, s.store.SQL.TargetLast, []any{s.o.seq}, func(r Row) error { return r.Scan(&past) })
	return int(count), past, err
}

// readLetters writes down letters that have to be read to be judged. It returns as
// copyLetters does.
func (s *stride) readLetters(ctx context.Context, f LetterFilter, most int) (n int, past int64, err error) {
	where := s.store.where(f)
	stmt := s.store.SQL.Letters + s.store.bySeq(f) + where.clause() + fmt.Sprintf(" order by seq limit %d", freezeRead)
	var rows [][]any
	read := 0
	err = s.q.Query(ctx, stmt, where.args, func(r Row) error {
		l, err := scanLetter(r)
		if err != nil || len(rows) == most {
			return err
		}
		read, past = read+1, l.Seq
		if f.fits(l) {
			rows = append(rows, []any{l.Seq, s.o.seq, l.ID})
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if read < freezeRead && len(rows) < most {
		past = f.Until
	}
	if len(rows) > 0 {
		_, err = s.q.ExecMany(ctx, s.store.SQL.TargetIn, rows)
	}
	return len(rows), past, err
}
