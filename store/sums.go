package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// A LetterCount says how many letters of a kind there are.
type LetterCount struct {
	Kind, Queue, Reason string
	Count               int
	Oldest, Newest      time.Time // deaths
}

// CountLetters counts the letters that a filter chooses, by kind, queue and reason, the most
// frequent first. Filter.Limit bounds them, the oldest first; 0 means all. Errors:
// driver.ErrInvalid for a filter that fails its Check.
func (s *Store) CountLetters(ctx context.Context, f LetterFilter) (out []LetterCount, err error) {
	f.Reach, f.Within = 0, 0
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	if f, err = s.bound(ctx, f); err != nil {
		return nil, s.explain("count dead letters", err)
	}
	if !f.exact() {
		return s.sumRead(ctx, f)
	}
	where := s.where(f)
	if f.Limit <= 0 {
		f.Limit = math.MaxInt32
	}
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		out = nil
		stmt := fmt.Sprintf(s.SQL.LetterSums, where.clause())
		return q.Query(ctx, stmt, append(where.args, f.Limit), func(r Row) error {
			var (
				c           LetterCount
				first, last int64
			)
			err := r.Scan(&c.Kind, &c.Queue, &c.Reason, &c.Count, &first, &last)
			c.Oldest, c.Newest = fromMillis(first), fromMillis(last)
			out = append(out, c)
			return err
		})
	})
	return out, s.explain("count dead letters", err)
}

// sumRead counts by reading.
func (s *Store) sumRead(ctx context.Context, f LetterFilter) ([]LetterCount, error) {
	sums, most, n := map[[3]string]LetterCount{}, f.Limit, 0
	f.Bare = true
	for f.Limit = sumPage; ; {
		page, err := s.LetterPage(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, l := range page.Letters {
			if n++; most > 0 && n > most {
				break
			}
			key := [3]string{l.Kind, l.Queue, l.Reason}
			sums[key] = sums[key].with(l)
		}
		if f.Past = page.Next; f.Past == 0 || most > 0 && n >= most {
			return slices.SortedFunc(maps.Values(sums), func(a, b LetterCount) int {
				return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind),
					cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Reason, b.Reason))
			}), nil
		}
	}
}

// with counts one letter more.
func (c LetterCount) with(l Letter) LetterCount {
	if c.Count == 0 {
		c = LetterCount{Kind: l.Kind, Queue: l.Queue, Reason: l.Reason, Oldest: l.DiedAt, Newest: l.DiedAt}
	}
	c.Count++
	if l.DiedAt.Before(c.Oldest) {
		c.Oldest = l.DiedAt
	}
	if l.DiedAt.After(c.Newest) {
		c.Newest = l.DiedAt
	}
	return c
}

// sumPage is how many letters are read at a time to be counted.
const sumPage = 1000
