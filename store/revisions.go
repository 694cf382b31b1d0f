package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
)

// A Revision is what a dead letter was before somebody edited it. The first one is what
// was sent.
type Revision struct {
	Number int       // from 1, in the order of the edits
	At     time.Time // when it was replaced, by the store's clock
	Actor  string    // by whom
	Header map[string]string
	Body   []byte
}

// ErrChanged: the dead letter is no longer what it was when it was read, or has gone:
// somebody has edited, retried or removed it. Compare with errors.Is.
var ErrChanged = errors.New("the dead letter has been changed since it was read")

// An Edit is a new version of a dead letter.
type Edit struct {
	Seq      int64 // which one
	Revision int   // Letter.Revision of the version that was read
	Header   map[string]string
	Body     []byte
	Retry    bool // put it back on its queue at once, as RetryLetters does
}

// EditLetter replaces the header and the body of a dead letter, unless somebody else
// was faster: exactly one of two edits of the same version, or of an edit and a retry
// of it, is done. What it was is kept as a revision for as long as the letter, or the
// message that it becomes, and until the retention is over. Errors: ErrChanged, and
// nothing is changed; driver.ErrDuplicate when it is to be retried and a live message
// has its id; driver.ErrTooLarge and ErrInvalid for what could not be sent;
// driver.ErrUnavailable.
func (s *Store) EditLetter(ctx context.Context, e Edit) error {
	err := s.write(ctx, func(ctx context.Context, q Session) error { return s.editLetter(ctx, q, e) })
	if err == nil && e.Retry {
		s.hub.wake()
	}
	return s.explain("edit dead letter", err)
}

func (s *Store) editLetter(ctx context.Context, q Session, e Edit) error {
	h, err := s.holdLetter(ctx, q, e.Seq, e.Revision)
	if err != nil {
		return err
	}
	env := h.Envelope
	env.Header, env.Body = e.Header, e.Body
	if err := driver.CheckSend(s.Capabilities(), env); err != nil {
		return err
	}
	said, _ := ctx.Value(actKey{}).(Act)
	if err := s.replace(ctx, q, replacement{e, h.now, said.Actor}); err != nil {
		return err
	}
	was, became := fmt.Sprintf("edited %d times", e.Revision), fmt.Sprintf("edited %d times", e.Revision+1)
	err = s.audit(ctx, q, Act{Verb: VerbEdit, Messages: []string{h.ID}, Count: 1, Was: was, Became: became})
	if err != nil || !e.Retry {
		return err
	}
	return s.heldBack(ctx, q, h)
}

// RetryVersion puts one dead letter back on its queue as RetryLetters does, unless somebody
// else was faster than who has read this version of it. Errors: ErrChanged, and nothing is
// changed; driver.ErrDuplicate when a live message has its id; driver.ErrUnavailable.
func (s *Store) RetryVersion(ctx context.Context, seq int64, revision int) error {
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		h, err := s.holdLetter(ctx, q, seq, revision)
		if err != nil {
			return err
		}
		return s.heldBack(ctx, q, h)
	})
	if err == nil {
		s.hub.wake()
	}
	return s.explain("retry dead letter", err)
}

// heldBack puts a letter that is held back on its queue, and notes that.
func (s *Store) heldBack(ctx context.Context, q Session, h held) error {
	n, err := s.letterBack(ctx, q, h.now, h.seq)
	if err == nil && n == 0 { // it was removed
		err = ErrChanged
	}
	if err != nil {
		return err
	}
	return s.audit(ctx, q, Act{Verb: VerbRetry, Messages: []string{h.ID}, Count: 1})
}

// A replacement is an edit, with its time and with who has made it.
type replacement struct {
	Edit
	now   int64
	actor string
}

// replace makes a letter that is locked another version, and keeps what it was.
func (s *Store) replace(ctx context.Context, q Session, e replacement) error {
	header, err := encodeHeader(e.Header)
	if err != nil {
		return err
	}
	if _, err := q.Exec(ctx, s.SQL.RevisionIn, e.now, clip(e.actor, MaxActor), e.Seq); err != nil {
		return err
	}
	n, err := q.Exec(ctx, s.SQL.LetterEdit, header, nonNil(e.Body), e.Seq, e.Revision)
	if err == nil && n == 0 {
		err = ErrChanged
	}
	return err
}

// A held letter is locked. Its envelope has neither header nor body.
type held struct {
	driver.Envelope
	seq int64
	now int64 // when it was locked, by the store's clock
}

// holdLetter locks a dead letter, if it is still the version that was read.
func (s *Store) holdLetter(ctx context.Context, q Session, seq int64, revision int) (h held, err error) {
	if h.now, err = q.Now(ctx); err != nil {
		return h, err
	}
	h.seq = seq
	found := -1
	err = q.Query(ctx, s.SQL.LetterHold+s.SQL.Lock, []any{seq}, func(r Row) error {
		return r.Scan(&h.ID, &h.Kind, &h.Queue, &h.Priority, &found)
	})
	if err == nil && found != revision {
		err = ErrChanged
	}
	return h, err
}

// letterBack puts a dead letter back on its queue. It is locked first: else an edit that
// is committed between the copy and the removal would be lost. 0 says that it has gone, or
// was removed meanwhile: who has removed it does not want it to be handled.
func (s *Store) letterBack(ctx context.Context, q Session, now, seq int64) (int64, error) {
	held, hold := false, s.SQL.LetterHold+" and discarded_at is null"+s.SQL.Lock
	err := q.Query(ctx, hold, []any{seq}, func(Row) error { held = true; return nil })
	if err != nil || !held {
		return 0, err
	}
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
}

// Revisions lists what a message was before each of its edits, the first one first:
// none when it is as it was sent.
func (s *Store) Revisions(ctx context.Context, id string) ([]Revision, error) {
	var out []Revision
	err := s.look(ctx, s.SQL.Revisions, []any{id}, func(r Row) error {
		var (
			v      Revision
			at     int64
			header sql.NullString
		)
		err := r.Scan(&v.Number, &at, &v.Actor, &header, &v.Body)
		if err != nil {
			return err
		}
		v.At = fromMillis(at)
		v.Header, err = decodeHeader(header)
		out = append(out, v)
		return err
	})
	return out, s.explain("read revisions", err)
}

// RestoreLetters takes back that letters were removed. One that is in the way is named
// by driver.ErrDuplicate, and nothing is changed: a live message or a dead letter has
// the same id. It returns how many it restored.
func (s *Store) RestoreLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, letterChange{verb: VerbRestore, one: s.restoreLetter, then: s.regroup})
	return n, s.explain("restore dead letters", err)
}

func (s *Store) restoreLetter(ctx context.Context, q Session, _, seq int64) (int64, error) {
	taken := false
	err := q.Query(ctx, s.SQL.LetterTwin, []any{seq, seq}, func(Row) error { taken = true; return nil })
	if err != nil {
		return 0, err
	}
	if taken {
		return 0, driver.ErrDuplicate
	}
	return q.Exec(ctx, s.SQL.LetterRestore, seq)
}

// PurgeLetters deletes dead and removed letters with their history and their
// revisions, for good. It returns how many it deleted.
func (s *Store) PurgeLetters(ctx context.Context, seqs ...int64) (int, error) {
	n, err := s.eachLetter(ctx, seqs, letterChange{verb: VerbPurge, one: s.purgeLetter})
	return n, s.explain("purge dead letters", err)
}

func (s *Store) purgeLetter(ctx context.Context, q Session, _, seq int64) (int64, error) {
	var id string
	err := q.Query(ctx, s.SQL.LetterHold+s.SQL.Lock, []any{seq}, func(r Row) error {
		return r.Scan(&id, new(string), new(string), new(int), new(int))
	})
	if err != nil {
		return 0, err
	}
	gone, err := q.Exec(ctx, s.SQL.LetterDrop, seq)
	if err != nil || gone == 0 {
		return 0, err
	}
	return gone, s.forget(ctx, q, id)
}

// forget drops the history and the revisions of an id that neither a message nor a
// letter has any more. Both are asked for by one query, which sees one state of them: on
// MariaDB a delete would wait for a letter that is being put back, after it has not found the
// message, and then find neither.
func (s *Store) forget(ctx context.Context, q Session, id string) error {
	known := false
	err := q.Query(ctx, s.SQL.Known, []any{id, id}, func(Row) error { known = true; return nil })
	if err != nil || known {
		return err
	}
	for _, stmt := range []string{s.SQL.RevisionDrop, s.SQL.DropLog} {
		if _, err := q.Exec(ctx, stmt, id); err != nil {
			return err
		}
	}
	return nil
}

// purgeRevisions removes some hundreds of revisions that are past their retention and
// belong to nothing. It reports whether there may be more.
func (s *Store) purgeRevisions(ctx context.Context, q Session, retention time.Duration) (more bool, err error) {
	now, err := q.Now(ctx)
	if err != nil {
		return false, err
	}
	var old [][]any
	err = q.Query(ctx, s.SQL.RevisionsOld, []any{now - retention.Milliseconds(), purgeBatch}, func(r Row) error {
		var (
			id     string
			number int
		)
		err := r.Scan(&id, &number)
		old = append(old, []any{id, number})
		return err
	})
	if err != nil {
		return false, err
	}
	return len(old) == purgeBatch, s.many(ctx, q, s.SQL.RevisionCut, old)
}

// revise adds the statements of this file.
func revise(s *Statements) {
	s.LetterHold = `select id, kind, queue, priority, revision from posthorn_letter where seq = ?`
	s.LetterEdit = `update posthorn_letter set header = ?, body = ?, revision = revision + 1
			where seq = ? and revision = ? and discarded_at is null`
	s.LetterRestore = `update posthorn_letter set discarded_at = null where seq = ? and discarded_at is not null`
	s.LetterTwin = `select 1 from posthorn_message where id in (select id from posthorn_letter where seq = ?)
			union all select 1 from posthorn_letter t join posthorn_letter l on l.id = t.id
			  where l.seq = ? and t.seq <> l.seq and t.discarded_at is null`
	s.RevisionIn = `insert into posthorn_revision (message_id, number, at_ms, actor, header, body)
			select l.id, (select coalesce(max(r.number), 0) + 1 from posthorn_revision r where r.message_id = l.id),
			  ?, ?, l.header, l.body
			from posthorn_letter l where l.seq = ?`
	s.Revisions = `select number, at_ms, actor, header, body from posthorn_revision where message_id = ? order by number`
	s.RevisionDrop = `delete from posthorn_revision where message_id = ?`
	s.Known = `select 1 from posthorn_message where id = ? union all select 1 from posthorn_letter where id = ?`
	s.RevisionsOld = `select message_id, number from posthorn_revision where at_ms < ?
			  and not exists (select 1 from posthorn_message where id = message_id)
			  and not exists (select 1 from posthorn_letter where id = message_id) order by at_ms limit ?`
	s.RevisionCut = `delete from posthorn_revision where message_id = ? and number = ?`
}
