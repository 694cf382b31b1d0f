package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
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
	Discarded  time.Time // when an operator removed it; zero: it is still dead
	Attempts   []driver.Attempt
}

// A LetterFilter chooses letters. Zero fields choose all.
type LetterFilter struct {
	IDs           []string
	Queue, Kind   string
	Reason, Class string
	After, Before time.Time // died at or after, died before
	Discarded     bool      // the removed ones instead of the dead ones
	Past          int64     // only letters with a greater Seq, for paging
	Limit         int       // 0 means 100
}

// Letters lists dead letters in the order in which they died, without bodies'
// attempts.
func (s *Store) Letters(ctx context.Context, f LetterFilter) ([]Letter, error) {
	where, args := f.where()
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	stmt := s.SQL.Letters + where + fmt.Sprintf(" order by seq limit %d", limit)
	var out []Letter
	err := s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, stmt, args, func(r Row) error {
			l, err := scanLetter(r)
			out = append(out, l)
			return err
		})
	})
	return out, s.explain("list dead letters", err)
}

// where is the condition of the filter with its arguments. Only fixed texts go
// into the statement.
func (f LetterFilter) where() (string, []any) {
	conds, args := []string{"discarded_at is null", "seq > ?"}, []any{f.Past}
	if f.Discarded {
		conds[0] = "discarded_at is not null"
	}
	add := func(cond string, v any) { conds, args = append(conds, cond), append(args, v) }
	for _, eq := range [][2]string{
		{"queue = ?", f.Queue}, {"kind = ?", f.Kind}, {"reason = ?", f.Reason}, {"class = ?", f.Class},
	} {
		if eq[1] != "" {
			add(eq[0], eq[1])
		}
	}
	if !f.After.IsZero() {
		add("died_at >= ?", f.After.UnixMilli())
	}
	if !f.Before.IsZero() {
		add("died_at < ?", f.Before.UnixMilli())
	}
	if len(f.IDs) > 0 {
		conds = append(conds, "id in"+list(len(f.IDs)))
		for _, id := range f.IDs {
			args = append(args, id)
		}
	}
	return " where " + strings.Join(conds, " and "), args
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
		&discarded, &l.Reason, &class, &l.Error, &header, &l.Body)
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
			var (
				a              driver.Attempt
				started, micro int64
				class          string
			)
			err := r.Scan(&a.Number, &a.Worker, &started, &micro, &class, &a.Error, &a.Stack)
			a.Started, a.Duration = fromMillis(started), time.Duration(micro)*time.Microsecond
			a.Class = driver.Class(class)
			out = append(out, a)
			return err
		})
	})
	return out, s.explain("read attempts", err)
}

// RetryLetters puts dead letters back on their own queues, due at once, with
// their ids and their history; the count of attempts starts anew. It is all or
// none: when a live message has the id of one of them, the error is
// driver.ErrDuplicate. It returns how many were put back; a letter that is no
// longer there is not counted.
func (s *Store) RetryLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, func(ctx context.Context, q Session, now, seq int64) (int64, error) {
		moved, err := q.Exec(ctx, s.SQL.LetterBack, now, now, seq)
		if err != nil || moved == 0 {
			return 0, err
		}
		failpoint.Pass(failpoint.MidLetterBack)
		dropped, err := q.Exec(ctx, s.SQL.LetterDrop, seq)
		if err == nil && dropped == 0 { // somebody else put it back in between
			err = driver.ErrDuplicate
		}
		return dropped, err
	})
	s.hub.wake()
	return n, s.explain("retry dead letters", err)
}

// RemoveLetters discards dead letters: they are listed as such until their
// retention is over. It returns how many it discarded.
func (s *Store) RemoveLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, func(ctx context.Context, q Session, now, seq int64) (int64, error) {
		return q.Exec(ctx, s.SQL.LetterGone, now, seq)
	})
	return n, s.explain("remove dead letters", err)
}

// eachLetter runs change for each letter in one transaction.
func (s *Store) eachLetter(
	ctx context.Context, seqs []int64, change func(ctx context.Context, q Session, now, seq int64) (int64, error),
) (total int, err error) {
	err = s.write(ctx, func(ctx context.Context, q Session) error {
		total = 0
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			n, err := change(ctx, q, now, seq)
			if err != nil {
				return err
			}
			total += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}
