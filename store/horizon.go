package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// While a session holds a snapshot, the database keeps all that was done since, and a
// claim from the start walks over it: after a million messages one in each poll interval takes half
// of the time. What may have come to stand before the marks since it was last looked for there is
//   - what was committed late: it is not due before its transaction began to write;
//   - what has come back with the due time that it had: that is noted (Statements.CameBack);
//   - what others had locked, whose transaction came to nothing: before that began, it was not before
//     the marks.
//
// All of it was done by transactions whose end that look had not seen. So it is enough to begin where
// the marks were before the oldest of those began, not after that time, and not after what has come back
// since. Surveys (survey.go) begin at that line.

const (
	// lineSlack is how long may lie between a due time and the first row that its transaction writes,
	// or the note of what comes back, in milliseconds.
	lineSlack = 250
	// returnedKept is how long a note of what has come back is kept.
	returnedKept = time.Minute
	// maxMoments bounds what a consumer remembers.
	maxMoments = 256
	// clockSlack is by how much less the server's clock may have moved than the host's between an
	// answer and the next question.
	clockSlack = 100 * time.Millisecond
)

// A moment is a time by the server's clock.
type moment struct {
	now  int64
	seen time.Time // the host's, before
	told time.Time // the host's, after
	next int64     // the first of the transactions that began to write after it
	at   []Mark    // where claims began
}

// moments are in their order.
type moments []moment

// before returns the last moment at which a transaction had not begun to write, if one is known.
func (ms moments) before(tx int64) (last moment, known bool) {
	later := sort.Search(len(ms), func(i int) bool { return ms[i].next > tx })
	if tx == 0 || later == 0 {
		return moment{}, false
	}
	return ms[later-1], true
}

// goBack notes that something stood before the marks in all moments that are known, or came after them.
func (ms moments) goBack(to Mark) {
	for _, known := range ms {
		for i, old := range known.at {
			if old.Priority == to.Priority {
				known.at[i].Due = min(old.Due, to.Due)
			}
		}
	}
}

// add adds a moment. It reports false where the server's clock, or its count of transactions, went
// back: what was known before is worth nothing then.
func (ms *moments) add(m moment) bool {
	old := *ms
	if n := len(old); n > 0 {
		moved := time.Duration(m.now-old[n-1].now) * time.Millisecond
		if m.next < old[n-1].next || moved < m.seen.Sub(old[n-1].told)-clockSlack {
			*ms = moments{m}
			return false
		}
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
	m, poll, share := c.marks[queue], c.store.opts.Poll, c.store.wholeShare
	m.gather(c.store.leastCost)
	a := m.use(poll, share, c.store.behind.Load())
	if c.store.SQL.Horizon == "" || !m.dear(poll, share) || len(m.searched()) == 0 {
		return a, nil
	}
	own := m.back != a.behind // what this process has given back is not to be overtaken
	if !a.whole() || m.survey != nil && !own {
		return approach{marks: m.searched()}, nil
	}
	s, err := c.survey(ctx, queue, a.behind)
	if err != nil {
		return a, err
	}
	if own && !s.known {
		a.oldest = m.oldest
		return a, nil
	}
	if own && s.lookFirst(ctx, c.store, m) != nil && ctx.Err() != nil {
		m.back-- // it has not been looked for
		return a, ctx.Err()
	}
	if m.survey == nil {
		err = c.aside(m, s)
	}
	return approach{marks: m.searched()}, err
}

// survey prepares one, from a line if one can be drawn.
func (c *consumer) survey(ctx context.Context, queue string, behind int64) (*survey, error) {
	m, began := c.marks[queue], time.Now()
	then, known := m.moments.before(m.oldest)
	if began.Sub(m.from) >= returnedKept/2 || c.store.awaySince(began.Sub(m.chain)) {
		known = false // a server that went down may have undone what others did
	}
	line, since := then.now-lineSlack, returnedNever
	if known {
		since = fmt.Sprintf("returned.%015d", line)
	}
	var (
		now    = moment{seen: began, at: slices.Clone(m.searched())}
		oldest int64
		first  sql.NullInt64
	)
	err := c.store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, c.store.SQL.Horizon, []any{since, queue}, func(r Row) error {
			return r.Scan(&now.now, &oldest, &now.next, &first)
		})
	})
	now.told = time.Now()
	if err != nil {
		return nil, err
	}
	s := &survey{
		queue: queue, began: began, marks: slices.Clone(now.at), known: m.moments.add(now) && known,
		ended: make(chan struct{}),
	}
	if s.known {
		if first.Valid {
			line = min(line, first.Int64)
		}
		s.line = earlier(now.at, then.at)
		for i := range s.line {
			s.line[i].Due = min(s.line[i].Due, line)
		}
	} else {
		m.unlined(began)
	}
	m.from, m.back, m.oldest = began, behind, oldest
	return s, nil
}

// aside runs a survey, with the slices of the round that are due.
func (c *consumer) aside(m *marks, s *survey) error {
	s.round = m.round.goesOn(s.began, s.marks)
	if s.share = c.store.wholeShare; s.round.all {
		s.share = halfShare
	}
	if !s.began.Before(s.round.resumes) {
		s.budget = c.store.opts.Poll / s.share
	}
	if !s.known && s.budget == 0 {
		return nil
	}
	m.round = s.round
	begun := c.store.hub.aside(c.ears, func(ctx context.Context) {
		s.run(ctx, c.store)
		close(s.ended)
		if len(s.found) > 0 {
			c.ears.hint()
		}
	})
	if !begun {
		return driver.ErrClosed
	}
	m.survey = s
	return nil
}

// unlined notes that no line is known at a time: all that stands before the marks is to be looked at from then on.
func (m *marks) unlined(at time.Time) {
	m.chain = at
	if m.survey != nil || m.round.all && !m.round.began.IsZero() {
		m.again = true // a round would not come to an end if it were to begin anew
		return
	}
	m.round = round{all: true, resumes: m.round.resumes}
}

// returnedNever sorts after all notes of what has come back. Each begins with returned, a full stop and
// its time in fifteen digits.
const returnedNever = "returned/"

// cameBack notes messages that a transaction has made ready: those that have been due for a
// while may stand before the marks of others. It is called after they were changed, and need not be for
// those that fell due less than lineSlack ago.
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
