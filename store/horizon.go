package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"
)

// While a session holds a snapshot, the database keeps all that was done since, and a
// claim from the start walks over it: after a million messages one in each poll interval takes half
// of the time. What may have come to stand before the marks since the last such claim is
//   - what was committed late: it is not due before its transaction began to write;
//   - what has come back with the due time that it had: that is noted (Statements.CameBack).
//
// So it is enough to begin at a line: at the time when the oldest transaction began to write that the
// last such claim may not have seen, or where the first of those stands that have come back.
// Claims from the start still come as often as costs a twentieth of the time.

const (
	// lineSlack is the time between a due time is computed and its transaction begins to
	// write or notes what it returns, in milliseconds.
	lineSlack = 250
	// returnedKept is how long a note of what has come back is kept.
	returnedKept = time.Minute
	// maxMoments bounds what a consumer remembers.
	maxMoments = 256
)

// A moment is a time by the server's clock, and the first of the transactions that began to
// write after it.
type moment struct{ now, next int64 }

// moments are in their order.
type moments []moment

// before returns the last moment at which a transaction had not begun to write; 0: unknown.
func (ms moments) before(tx int64) int64 {
	later := sort.Search(len(ms), func(i int) bool { return ms[i].next > tx })
	if tx == 0 || later == 0 {
		return 0
	}
	return ms[later-1].now
}

// add adds a moment. It reports false where the server's clock, or its count of transactions, went
// back: what was known before is worth nothing then.
func (ms *moments) add(m moment) bool {
	old := *ms
	if n := len(old); n > 0 && (m.now < old[n-1].now || m.next < old[n-1].next) {
		*ms = moments{m}
		return false
	}
	if len(old) >= maxMoments { // every other one is as true
		i := 0
		old = slices.DeleteFunc(old, func(moment) bool { i++; return i%2 == 0 })
	}
	*ms = append(old, m)
	return true
}

// approach says where the next claim of a queue is to begin.
func (c *consumer) approach(ctx context.Context, queue string) (approach, error) {
	m, poll := c.marks[queue], c.store.opts.Poll
	a := m.use(poll, c.store.wholeShare, c.store.behind.Load())
	if !a.early || c.store.SQL.Horizon == "" || !m.dear(poll, c.store.wholeShare) {
		return a, nil
	}
	line := c.moments.before(m.oldest) - lineSlack
	if time.Since(m.start) >= c.store.wholeShare*m.cost || time.Since(m.from) >= returnedKept/2 {
		line = 0
	}
	var (
		now   moment
		first sql.NullInt64
	)
	err := c.store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, c.store.SQL.Horizon, []any{returnedSince(max(line, 0)), queue}, func(r Row) error {
			return r.Scan(&now.now, &a.oldest, &now.next, &first)
		})
	})
	if err != nil {
		return a, err
	}
	if !c.moments.add(now) || line <= 0 {
		return a, nil
	}
	if first.Valid {
		line = min(line, first.Int64)
	}
	return a.at(line, m.at), nil
}

// returnedSince is a word that sorts before all notes of what has come back since then, and after the others.
func returnedSince(ms int64) string { return fmt.Sprintf("returned.%015d", ms) }

// cameBack notes messages that a transaction has made ready: those that have been due for a
// while may stand before the marks of others. It is called after they were changed.
func (s *Store) cameBack(ctx context.Context, q Session, seqs ...int64) error {
	if s.SQL.CameBack == "" || len(seqs) == 0 {
		return nil
	}
	words := make([]string, len(seqs))
	for i, seq := range seqs {
		words[i] = strconv.FormatInt(seq, 10)
	}
	_, err := q.Exec(ctx, s.SQL.CameBack, rand128(), returnedKept.Milliseconds(), lineSlack, jsonList(words))
	return err
}
