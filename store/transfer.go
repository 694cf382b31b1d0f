package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Dossier is a letter with all that belongs to it, its history in Letter.Attempts.
type Dossier struct {
	Letter
	Revisions []Revision
}

// Dossier adds to a letter what belongs to it.
func (s *Store) Dossier(ctx context.Context, l Letter) (Dossier, error) {
	var err error
	if l.Attempts, err = s.Attempts(ctx, l.ID); err != nil {
		return Dossier{}, err
	}
	revisions, err := s.Revisions(ctx, l.ID)
	return Dossier{Letter: l, Revisions: revisions}, err
}

// A TakenError says that letters cannot be imported, since the store knows their ids.
type TakenError struct{ IDs []string }

// Error names the first of them.
func (e *TakenError) Error() string {
	if len(e.IDs) == 1 {
		return "the store has a message or a letter with the id " + e.IDs[0]
	}
	return fmt.Sprintf("the store has messages or letters with %d of the ids, among them %s", len(e.IDs), e.IDs[0])
}

// Is makes it match driver.ErrDuplicate.
func (e *TakenError) Is(target error) bool { return target == driver.ErrDuplicate }

// ImportLetters adds letters as they are, removed ones included, with their history and
// their revisions: all or none. Only Seq is not kept. A message may have died more than
// once: of an id that comes again, or is among those of again, which earlier letters
// of the same import had, only the letter is added. Errors: a *TakenError when a live
// message or a letter has one of the other ids; driver.ErrInvalid and ErrTooLarge;
// driver.ErrUnavailable.
func (s *Store) ImportLetters(ctx context.Context, again map[string]bool, ds ...Dossier) error {
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		if err := s.untaken(ctx, q, again, ds); err != nil {
			return err
		}
		a, here, found := Act{Verb: VerbImport, Count: len(ds)}, map[string]bool{}, newRoll()
		for _, d := range ds {
			if err := s.importOne(ctx, q, d, !again[d.ID] && !here[d.ID]); err != nil {
				return fmt.Errorf("message %s: %w", d.ID, err)
			}
			here[d.ID] = true
			a.Messages = append(a.Messages, d.ID)
			found.addLetter(d.Letter)
		}
		if len(ds) == 0 {
			return nil
		}
		if err := s.enroll(ctx, q, found); err != nil {
			return err
		}
		return s.audit(ctx, q, a)
	})
	if taken := new(TakenError); errors.As(err, &taken) {
		return fmt.Errorf("import dead letters: %w", err)
	}
	return s.explain("import dead letters", err)
}

// Taken says which of some ids a live message or a letter has.
func (s *Store) Taken(ctx context.Context, names []string) (taken []string, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		taken, err = s.taken(ctx, q, names)
		return err
	})
	return taken, s.explain("look for ids", err)
}

func (s *Store) taken(ctx context.Context, q Session, names []string) (taken []string, err error) {
	seen := map[string]bool{}
	for _, id := range names {
		err := q.Query(ctx, s.SQL.IDTaken, []any{id, id}, func(r Row) error {
			if !seen[id] {
				seen[id], taken = true, append(taken, id)
			}
			return r.Scan(new(int))
		})
		if err != nil {
			return nil, err
		}
	}
	return taken, nil
}

func (s *Store) untaken(ctx context.Context, q Session, again map[string]bool, ds []Dossier) error {
	names := make([]string, 0, len(ds))
	for _, d := range ds {
		if !again[d.ID] {
			names = append(names, d.ID)
		}
	}
	taken, err := s.taken(ctx, q, names)
	if err == nil && len(taken) > 0 {
		err = &TakenError{IDs: taken}
	}
	return err
}

// importOne adds one letter; with first also what belongs to its id.
func (s *Store) importOne(ctx context.Context, q Session, d Dossier, first bool) error {
	if err := driver.CheckSend(s.Capabilities(), d.Envelope); err != nil {
		return err
	}
	header, err := encodeHeader(d.Header)
	if err != nil {
		return err
	}
	if first { // what an earlier message of this id has left
		if err := s.forget(ctx, q, d.ID); err != nil {
			return err
		}
	}
	discarded := sql.NullInt64{Int64: d.Discarded.UnixMilli(), Valid: !d.Discarded.IsZero()}
	_, err = q.Exec(ctx, s.SQL.LetterIn, d.ID, d.Kind, d.Queue, d.Priority, d.Attempt, d.Deliveries, d.Crashes,
		millis(d.SentAt), millis(d.DiedAt), discarded, clip(d.Reason, maxWord), clip(string(d.Class), maxWord),
		clip(d.Error, driver.MaxAttemptError), clip(d.Fingerprint, maxWord), clip(d.ErrorType, driver.MaxName),
		clip(d.Build, driver.MaxName), header, nonNil(d.Body), d.Revision)
	if err != nil || !first {
		return err
	}
	var attempts, revisions [][]any
	for _, a := range d.Attempts {
		attempts = append(attempts, []any{d.ID, a.Number, a.Worker, millis(a.Started), a.Duration.Microseconds(),
			clip(string(a.Class), maxWord), clip(a.Error, driver.MaxAttemptError), clip(a.Stack, driver.MaxAttemptStack),
			clip(a.Build, driver.MaxName)})
	}
	for _, v := range d.Revisions {
		header, err := encodeHeader(v.Header)
		if err != nil {
			return err
		}
		revisions = append(revisions, []any{
			d.ID, v.Number, millis(v.At), clip(v.Actor, MaxActor), header, nonNil(v.Body),
		})
	}
	return errors.Join(s.many(ctx, q, s.SQL.LogAttempt, attempts), s.many(ctx, q, s.SQL.RevisionPut, revisions))
}

// many runs a statement for each row of arguments, if there is one.
func (s *Store) many(ctx context.Context, q Session, stmt string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := q.ExecMany(ctx, stmt, rows)
	return err
}

// millis is a time as it is kept; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// nonNil is a body for a column that is never null.
func nonNil(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}

// transfer adds the statements of this file.
func transfer(s *Statements) {
	s.IDTaken = `select 1 from posthorn_message where id = ? union all select 1 from posthorn_letter where id = ?`
	s.LetterIn = `insert into posthorn_letter
			  (id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, discarded_at, reason, class, error,
			   fingerprint, error_type, build, header, body, revision)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	s.RevisionPut = `insert into posthorn_revision (message_id, number, at_ms, actor, header, body)
			values (?, ?, ?, ?, ?, ?)`
}
