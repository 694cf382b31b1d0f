package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	b, err := s.cargo(again, ds)
	if err == nil && len(ds) > 0 {
		err = s.write(ctx, func(ctx context.Context, q Session) error { return s.unload(ctx, q, b) })
	}
	if taken := new(TakenError); errors.As(err, &taken) {
		return fmt.Errorf("import dead letters: %w", err)
	}
	return s.explain("import dead letters", err)
}

// A cargo is what an import adds in one transaction.
type cargo struct {
	fresh, names                 []string // ids that nobody may have; all of the letters
	letters, attempts, revisions [][]any
	found                        roll
}

// cargo makes the rows of letters.
func (s *Store) cargo(again map[string]bool, ds []Dossier) (c cargo, err error) {
	c.found = newRoll()
	here := map[string]bool{}
	for _, d := range ds {
		err := driver.CheckSend(s.Capabilities(), d.Envelope)
		if err == nil {
			err = c.add(d)
		}
		if err == nil && !again[d.ID] && !here[d.ID] {
			err = c.addRest(d)
		}
		if err != nil {
			return c, fmt.Errorf("message %s: %w", d.ID, err)
		}
		here[d.ID] = true
	}
	return c, nil
}

// add adds a letter.
func (c *cargo) add(d Dossier) error {
	header, err := encodeHeader(d.Header)
	discarded := sql.NullInt64{Int64: d.Discarded.UnixMilli(), Valid: !d.Discarded.IsZero()}
	c.letters = append(c.letters, []any{
		d.ID, d.Kind, d.Queue, d.Priority, d.Attempt, d.Deliveries, d.Crashes,
		toMillis(d.SentAt), toMillis(d.DiedAt), discarded, clip(d.Reason, maxWord), clip(string(d.Class), maxWord),
		clip(d.Error, driver.MaxAttemptError), clip(d.Fingerprint, maxWord), clip(d.ErrorType, driver.MaxName),
		clip(d.Build, driver.MaxName), header, nonNil(d.Body), d.Revision,
	})
	c.names = append(c.names, d.ID)
	c.found.addLetter(d.Letter)
	return err
}

// addRest adds what belongs to an id.
func (c *cargo) addRest(d Dossier) error {
	c.fresh = append(c.fresh, d.ID)
	for _, a := range d.Attempts {
		c.attempts = append(c.attempts, []any{
			d.ID, a.Number, a.Worker, toMillis(a.Started), a.Duration.Microseconds(),
			clip(string(a.Class), maxWord), clip(a.Error, driver.MaxAttemptError), clip(a.Stack, driver.MaxAttemptStack),
			clip(a.Build, driver.MaxName),
		})
	}
	for _, v := range d.Revisions {
		header, err := encodeHeader(v.Header)
		if err != nil {
			return err
		}
		c.revisions = append(c.revisions, []any{
			d.ID, v.Number, toMillis(v.At), clip(v.Actor, MaxActor), header, nonNil(v.Body),
		})
	}
	return nil
}

// unload adds all of a cargo, if no id is taken.
func (s *Store) unload(ctx context.Context, q Session, c cargo) error {
	taken, err := s.having(ctx, q, c.fresh, s.SQL.Live, s.SQL.Buried)
	if err == nil && len(taken) > 0 {
		err = &TakenError{IDs: taken}
	}
	if err != nil {
		return err
	}
	if err := s.forgetAll(ctx, q, c.fresh); err != nil {
		return err
	}
	for _, part := range []struct {
		stmt string
		rows [][]any
	}{{s.SQL.LetterIn, c.letters}, {s.SQL.LogAttempt, c.attempts}, {s.SQL.RevisionPut, c.revisions}} {
		if err := s.many(ctx, q, part.stmt, part.rows); err != nil {
			return err
		}
	}
	if err := s.enroll(ctx, q, c.found); err != nil {
		return err
	}
	return s.audit(ctx, q, Act{Verb: VerbImport, Count: len(c.letters), Messages: c.names})
}

// Taken says which of some ids a live message or a letter has.
func (s *Store) Taken(ctx context.Context, names []string) (taken []string, err error) {
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
		taken, err = s.having(ctx, q, names, s.SQL.Live, s.SQL.Buried)
		return err
	})
	return taken, s.explain("look for ids", err)
}

// having says which of some ids one of the statements finds, each once and in their order.
// A statement is followed by a list of them. All are one query, which sees one state of
// messages and letters: else what moves meanwhile would be found in neither place.
func (s *Store) having(ctx context.Context, q Session, names []string, stmts ...string) (out []string, err error) {
	found := map[string]bool{}
	for part := range slices.Chunk(names, maxClaim) {
		var (
			all  []string
			args []any
		)
		for _, stmt := range stmts {
			all, args = append(all, stmt+list(len(part))), append(args, listed(part)...)
		}
		err := q.Query(ctx, strings.Join(all, " union all "), args, func(r Row) error {
			var id string
			err := r.Scan(&id)
			found[id] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range names {
		if found[id] {
			out = append(out, id)
			delete(found, id)
		}
	}
	return out, nil
}

// forgetAll drops what earlier messages of some ids have left, which most have not.
func (s *Store) forgetAll(ctx context.Context, q Session, names []string) error {
	left, err := s.having(ctx, q, names, s.SQL.AttemptsOf, s.SQL.RevisionsOf)
	if err != nil {
		return err
	}
	for _, id := range left {
		if err := s.forget(ctx, q, id); err != nil {
			return err
		}
	}
	return nil
}

// many runs a statement for each row of arguments, if there is one.
func (s *Store) many(ctx context.Context, q Session, stmt string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := q.ExecMany(ctx, stmt, rows)
	return err
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
	s.Buried = `select id from posthorn_letter where id in`
	s.AttemptsOf = `select distinct message_id from posthorn_attempt where message_id in`
	s.RevisionsOf = `select distinct message_id from posthorn_revision where message_id in`
	s.LetterIn = `insert into posthorn_letter
			  (id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, discarded_at, reason, class, error,
			   fingerprint, error_type, build, header, body, revision)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	s.RevisionPut = `insert into posthorn_revision (message_id, number, at_ms, actor, header, body)
			values (?, ?, ?, ?, ?, ?)`
}
