package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/operation"
)

// An EditFunc makes the new version of a letter that an operation edits, or says why it
// has none: then the letter is left as it is, and refused. It changes nothing in the letter.
type EditFunc func(Operation, Letter) (Edit, error)

// bulkEdit replaces what letters are by what the turn's EditFunc makes of them, and keeps
// what they were. Of those that are as they should be already nothing is kept.
func (s *Store) bulkEdit(ctx context.Context, q Session, b bulk) error {
	if b.edit == nil {
		return fmt.Errorf("edit letters: %w: the turn has no EditFunc", driver.ErrUnsupported)
	}
	seqs := listed(b.seqs())
	var whole []Letter
	stmt := s.SQL.Letters + " where seq in" + list(len(seqs)) + s.SQL.Lock // not as of the transaction's beginning
	err := q.Query(ctx, stmt, seqs, func(r Row) error {
		l, err := scanLetter(r)
		whole = append(whole, l)
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range whole {
		state, err := s.bulkEditOne(ctx, q, b, l)
		if err != nil {
			return err
		}
		b.found.Add(state, l.Seq)
	}
	return nil
}

func (s *Store) bulkEditOne(ctx context.Context, q Session, b bulk, l Letter) (operation.Fate, error) {
	e, err := b.edit(*b.operation, l)
	if err != nil {
		return operation.FateRefused, nil //nolint:nilerr // it is the letter's fault, not the operation's
	}
	if maps.Equal(e.Header, l.Header) && bytes.Equal(e.Body, l.Body) {
		return operation.FateDone, nil
	}
	env := l.Envelope
	env.Header, env.Body = e.Header, e.Body
	if driver.CheckSend(s.Capabilities(), env) != nil {
		return operation.FateRefused, nil
	}
	e.Seq, e.Revision = l.Seq, l.Revision
	return operation.FateDone, s.replace(ctx, q, replacement{e, b.operation.Now.UnixMilli(), b.operation.Actor})
}
