package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Facet is a property by which dead letters are counted.
type Facet string

// The facets.
const (
	FacetKind  Facet = "kind"
	FacetQueue Facet = "queue"
	FacetError Facet = "error" // the type of the last error
	FacetClass Facet = "class" // of the last attempt
	FacetDay   Facet = "day"   // on which they died, in UTC
)

// Facets lists the facets.
func Facets() []Facet { return []Facet{FacetKind, FacetQueue, FacetError, FacetClass, FacetDay} }

// column is what the facet is in the table of letters.
func (f Facet) column() string {
	switch f {
	case FacetKind, FacetQueue, FacetClass:
		return string(f)
	case FacetError:
		return "error_type"
	case FacetDay:
		return fmt.Sprintf("died_at - (died_at %% %[1]d + %[1]d) %% %[1]d", day) // as dayOf
	}
	return ""
}

// A FacetCount counts the letters that have one value of a facet.
type FacetCount struct {
	Value       string // of a day: 2026-01-31; of a type of error empty where it has none
	Count       int64
	First, Last time.Time // when the first and the last of them died
}

// MaxFacetCounts is how many values CountBy tells.
const MaxFacetCounts = 1000

// CountBy counts the letters that a filter chooses by a facet: the most frequent
// values first, days from the latest on. Values beyond MaxFacetCounts are left out, the
// rarest ones. Of all letters, and of those between two times, an index tells it; of
// others every letter is read that the filter lets through. Errors:
// driver.ErrInvalid for a facet that is none, and for a filter that looks into payloads
// or headers; driver.ErrUnavailable.
func (s *Store) CountBy(ctx context.Context, by Facet, f LetterFilter) (out []FacetCount, err error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	if by.column() == "" || !f.exact() {
		return nil, fmt.Errorf("count dead letters: %w: by %q, or what only reading tells", driver.ErrInvalid, string(by))
	}
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		whole := false
		if by == FacetDay && f.timesOnly() {
			out, whole, err = s.countDays(ctx, q, f)
		}
		if err == nil && !whole {
			out, err = s.countValues(ctx, q, by, f)
		}
		return err
	})
	if by == FacetDay {
		slices.SortFunc(out, func(a, b FacetCount) int { return strings.Compare(b.Value, a.Value) })
	} else {
		slices.SortFunc(out, func(a, b FacetCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
		})
	}
	return out, s.explain("count dead letters", err)
}

// countValues counts by one statement.
func (s *Store) countValues(ctx context.Context, q Session, by Facet, f LetterFilter) (out []FacetCount, err error) {
	if f, err = s.boundIn(ctx, q, f); err != nil {
		return nil, err
	}
	f.unordered = true
	where := s.where(f)
	stmt := fmt.Sprintf(s.SQL.LetterFacets, by.column()) + where.clause() + " group by 1 order by 2 desc, 1 limit ?"
	err = q.Query(ctx, stmt, append(where.args, MaxFacetCounts), func(r Row) error {
		c, err := scanFacet(r, by)
		out = append(out, c)
		return err
	})
	return out, err
}

// scanFacet reads one row of Statements.LetterFacets.
func scanFacet(r Row, by Facet) (c FacetCount, err error) {
	var first, last, at int64
	if by != FacetDay {
		err = r.Scan(&c.Value, &c.Count, &first, &last)
	} else if err = r.Scan(&at, &c.Count, &first, &last); err == nil {
		c.Value = dayName(at)
	}
	c.First, c.Last = fromMillis(first), fromMillis(last)
	return c, err
}
