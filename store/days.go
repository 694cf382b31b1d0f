package store

import (
	"context"
	"fmt"
	"math"
	"time"
)

// day is how long a day is, in milliseconds.
const day = int64(24 * time.Hour / time.Millisecond)

// dayOf is when the day of a moment began in UTC. Both are milliseconds since 1970, or before it.
func dayOf(ms int64) int64 { return ms - (ms%day+day)%day }

// dayName is the day of a moment.
func dayName(ms int64) string { return time.UnixMilli(dayOf(ms)).UTC().Format(time.DateOnly) }

// timesOnly reports whether the filter says nothing of letters but when they died, and
// whether they were removed, which the index of times has.
func (f LetterFilter) timesOnly() bool {
	return len(f.IDs) == 0 && len(f.words()) == 0 && len(f.Terms) == 0 && f.Reason == "" && f.Past == 0 && f.Until == 0
}

// countDays counts letters day by day, in the index of times: to group them by an
// expression, the database would make one for each of them. Each statement tells when the
// next letter died as well, so that days without letters cost nothing. whole is false where
// there are more than MaxFacetCounts days, as letters of many years may have: they are
// better grouped at once.
func (s *Store) countDays(ctx context.Context, q Session, f LetterFilter) (out []FacetCount, whole bool, err error) {
	dead := f.dead()
	stmt := fmt.Sprintf(s.SQL.LetterDay, dead.conds[0])
	from, end := int64(math.MinInt64), int64(math.MaxInt64)
	if !f.After.IsZero() {
		from = f.After.UnixMilli()
	}
	if !f.Before.IsZero() {
		end = f.Before.UnixMilli()
	}
	for to := from; ; { // first a day of no length, which tells when the first letter died
		var (
			n          int64
			last, next *int64
		)
		err := q.Query(ctx, stmt, []any{from, to, from, to, to, end}, func(r Row) error { return r.Scan(&n, &last, &next) })
		if err != nil {
			return nil, false, err
		}
		if n > 0 && last != nil {
			out = append(out, FacetCount{Value: dayName(from), Count: n, First: fromMillis(from), Last: fromMillis(*last)})
		}
		if next == nil {
			return out, true, nil
		}
		if len(out) == MaxFacetCounts {
			return nil, false, nil
		}
		from, to = *next, min(dayOf(*next)+day, end)
	}
}
