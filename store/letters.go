package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Letter is a dead letter: a message that will not be tried again unless
// somebody says so. Its envelope is kept as it was.
type Letter struct {
	driver.Envelope
	Seq        int64 // its place among the letters; the key of paging
	Reason     string
	Class      driver.Class // of the last attempt
	Error      string       // of the last attempt
	Deliveries int
	Crashes    int
	DiedAt     time.Time
	Revision   int       // how often it was edited since it died
	Discarded  time.Time // when an operator removed it; zero: it is still dead
	Attempts   []driver.Attempt

	Fingerprint string // of its group; empty until it has been computed
	ErrorType   string // the most telling type of the last error; may be empty
	Build       string // of the worker where it died; may be empty
}

// Letters lists dead letters in the order in which they died, without their
// attempts. It reads page after page until there are as many as the filter's limit: who
// wants many bodies takes each LetterPage by itself. Errors: driver.ErrInvalid for a filter
// that fails its Check.
func (s *Store) Letters(ctx context.Context, f LetterFilter) (out []Letter, err error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	most := f.size()
	if f, err = s.bound(ctx, f.timer()); err != nil {
		return nil, s.explain("list dead letters", err)
	}
	for {
		f.Limit = most - len(out)
		page, err := s.LetterPage(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Letters...)
		if page.Next == 0 || page.Searched > 0 || len(out) >= most {
			return out, nil
		}
		f.Past = page.Next
	}
}

// LastLetter reads the last of the dead letters that have an id, or of the removed ones;
// nil says that there is none.
func (s *Store) LastLetter(ctx context.Context, id string, discarded bool) (l *Letter, err error) {
	where := s.where(LetterFilter{IDs: []string{id}, Discarded: discarded})
	err = s.look(ctx, s.SQL.Letters+where.clause()+" order by seq desc limit 1", where.args, func(r Row) error {
		found, err := scanLetter(r)
		l = &found
		return err
	})
	return l, s.explain("read dead letter", err)
}

func scanLetter(r Row) (Letter, error) {
	var (
		l          Letter
		sent, died int64
		discarded  sql.NullInt64
		header     sql.NullString
		class      string
	)
	err := r.Scan(&l.Seq, &l.ID, &l.Kind, &l.Queue, &l.Priority, &l.Attempt, &l.Deliveries, &l.Crashes, &sent, &died,
		&discarded, &l.Reason, &class, &l.Error, &l.Fingerprint, &l.ErrorType, &l.Build, &header, &l.Body, &l.Revision)
	if err != nil {
		return l, err
	}
	l.Class, l.SentAt, l.DiedAt = driver.Class(class), fromMillis(sent), fromMillis(died)
	l.Discarded = fromMillis(discarded.Int64)
	l.Header, err = decodeHeader(header)
	return l, err
}

// Attempts is the history of a live or dead message, oldest first.
func (s *Store) Attempts(ctx context.Context, id string) ([]driver.Attempt, error) {
	var out []driver.Attempt
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, s.SQL.Attempts, []any{id}, func(r Row) error {
			a, err := scanAttempt(r)
			out = append(out, a)
			return err
		})
	})
	return out, s.explain("read attempts", err)
}

func scanAttempt(r Row) (driver.Attempt, error) {
	var (
		a              driver.Attempt
		started, micro int64
		class          string
	)
	err := r.Scan(&a.Number, &a.Worker, &started, &micro, &class, &a.Error, &a.Stack, &a.Build)
	a.Started, a.Duration = fromMillis(started), time.Duration(micro)*time.Microsecond
	a.Class = driver.Class(class)
	return a, err
}

// RetryLetters puts dead letters back on their own queues, due at once, with
// their ids and their history; the count of attempts starts anew. It is all or
// none: when a live message has the id of one of them, the error is
// driver.ErrDuplicate. It returns how many were put back; a letter that is no
// longer there is not counted.
func (s *Store) RetryLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, letterChange{verb: VerbRetry, one: s.letterBack})
	s.hub.wake()
	return n, s.explain("retry dead letters", err)
}

// RemoveLetters discards dead letters: they are listed as such until their
// retention is over. It returns how many it discarded.
func (s *Store) RemoveLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, letterChange{verb: VerbRemove, one: s.letterGone})
	return n, s.explain("remove dead letters", err)
}

func (s *Store) letterGone(ctx context.Context, q Session, now, seq int64) (int64, error) {
	return q.Exec(ctx, s.SQL.LetterGone, now, seq)
}

// A letterChange is what is done to letters.
type letterChange struct {
	verb Verb
	// one changes one letter, and returns how many it has changed.
	one func(ctx context.Context, q Session, now, seq int64) (int64, error)
	// then, if any, is given those that were changed.
	then func(ctx context.Context, q Session, seqs []any) error
}

// eachLetter changes each letter in one transaction, with the act that it is.
func (s *Store) eachLetter(ctx context.Context, seqs []int64, c letterChange) (total int, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		total = 0
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		names, err := s.letterIDs(ctx, q, slices.Sorted(slices.Values(seqs)))
		if err != nil {
			return err
		}
		a, changed := Act{Verb: c.verb}, []any(nil)
		for _, seq := range seqs {
			n, err := c.one(ctx, q, now, seq)
			if err != nil {
				return err
			}
			if n > 0 {
				a.Messages, changed = append(a.Messages, names[seq]), append(changed, seq)
			}
			total += int(n)
		}
		if a.Count = total; total == 0 {
			return nil
		}
		if c.then != nil {
			if err := c.then(ctx, q, changed); err != nil {
				return err
			}
		}
		return s.audit(ctx, q, a)
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}

// letterIDs locks letters, in the order of their numbers as everybody does, and gives their
// ids: two who put the same letter back would wait for each other.
func (s *Store) letterIDs(ctx context.Context, q Session, seqs []int64) (map[int64]string, error) {
	names := make(map[int64]string, len(seqs))
	for part := range slices.Chunk(seqs, maxClaim) {
		stmt := s.SQL.LetterIDs + list(len(part)) + " order by seq" + s.SQL.Lock
		err := q.Query(ctx, stmt, listed(part), func(r Row) error {
			var (
				seq int64
				id  string
			)
			err := r.Scan(&seq, &id)
			names[seq] = id
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}
