package store

import (
	"context"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/fingerprint"
)

// markBatch is how many letters one transaction gives their fingerprints.
const markBatch = 500

// MarkLetters computes the fingerprints of letters that were buried without one, by a
// Posthorn that knew none, and returns how many those were. It works in short
// transactions, and may be ended by its context in between: housekeeping goes on.
func (s *Store) MarkLetters(ctx context.Context) (marked int, err error) {
	var past int64
	for {
		n, last := 0, past
		err := s.write(ctx, func(ctx context.Context, q Session) error {
			n, last, err = s.markSome(ctx, q, past)
			return err
		})
		marked += n
		if err != nil || last == past {
			return marked, s.explain("compute fingerprints", err)
		}
		past = last
	}
}

// An unmarked is a letter without a fingerprint.
type unmarked struct {
	seq, died int64
	id        string
	attempt   driver.Attempt
	kind      string
}

// markSome marks the next letters, and returns the sequence of the last it looked at.
func (s *Store) markSome(ctx context.Context, q Session, past int64) (n int, last int64, err error) {
	us, err := s.unmarked(ctx, q, past)
	if err != nil {
		return 0, past, err
	}
	found := newRoll()
	rows := make([][]any, 0, len(us))
	for _, u := range us {
		if u.attempt.Class == driver.ClassPanic {
			if err := s.lastStack(ctx, q, &u); err != nil {
				return 0, past, err
			}
		}
		end := endingOf(u.kind, "", &u.attempt)
		found.add(end, u.died)
		rows = append(rows, []any{end.mark, u.seq})
		past = u.seq
	}
	if len(rows) == 0 {
		return 0, past, nil
	}
	if _, err := q.ExecMany(ctx, s.SQL.Mark, rows); err != nil {
		return 0, past, err
	}
	return len(rows), past, s.enroll(ctx, q, found)
}

func (s *Store) unmarked(ctx context.Context, q Session, past int64) (out []unmarked, err error) {
	err = q.Query(ctx, s.SQL.Unmarked, []any{past, markBatch}, func(r Row) error {
		var (
			u     unmarked
			class string
		)
		err := r.Scan(&u.seq, &u.id, &u.kind, &class, &u.attempt.Error, &u.attempt.Type, &u.attempt.Build, &u.died)
		u.attempt.Class = driver.Class(class)
		out = append(out, u)
		return err
	})
	return out, err
}

// lastStack reads the stack of a letter's last attempt.
func (s *Store) lastStack(ctx context.Context, q Session, u *unmarked) error {
	return q.Query(ctx, s.SQL.Attempts, []any{u.id}, func(r Row) error {
		a, err := scanAttempt(r)
		u.attempt.Stack = a.Stack
		return err
	})
}

// addGroups adds the groups that are not there.
func (s *Store) addGroups(ctx context.Context, q Session, found faultsFound, first func(mark string) int64) error {
	for _, mark := range found.marks() {
		e := found[mark]
		at := first(mark)
		_, err := q.Exec(ctx, s.SQL.GroupIn, mark, fingerprint.Algorithm, e.kind, string(e.class), e.errorType,
			e.title(), at, e.build, at)
		if err != nil {
			return err
		}
	}
	return nil
}

// keepGroups notes which resolved groups have come back, and removes those of which
// nothing was heard since a time.
func (s *Store) keepGroups(ctx context.Context, q Session, now, since int64) error {
	if _, err := q.Exec(ctx, s.SQL.GroupsAgain, now); err != nil {
		return err
	}
	var old [][]any
	err := q.Query(ctx, s.SQL.GroupsOld, []any{since, since}, func(r Row) error {
		var mark string
		err := r.Scan(&mark)
		old = append(old, []any{since, since, mark})
		return err
	})
	if err != nil {
		return err
	}
	return s.many(ctx, q, s.SQL.GroupPurge, old) // which looks again: a letter may have died meanwhile
}
