package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/driver"
)

// A Document is a small text that outlives processes, such as what a monitor has to
// remember. Its version grows with each change; 0 is one that is not there.
type Document struct {
	Version int64
	Body    string // UTF-8 without zero bytes, at most MaxDocument bytes
}

// MaxDocument bounds a document's body in bytes.
const MaxDocument = 1 << 20

// ErrConflict: somebody else has changed the document since it was read.
var ErrConflict = errors.New("the document has been changed since it was read")

// Document reads a document by its name, which is formed like that of a queue. One
// that is not there has version 0.
func (s *Store) Document(ctx context.Context, name string) (d Document, err error) {
	if err := driver.CheckQueue(name); err != nil {
		return d, fmt.Errorf("read document: %w", err)
	}
	err = s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		d = Document{}
		return q.Query(ctx, s.SQL.Document, []any{name}, func(r Row) error { return r.Scan(&d.Version, &d.Body) })
	})
	return d, s.explain("read document", err)
}

// SaveDocument writes a document as the successor of the version that it has: that
// which was read, or 0 for one that is to be new. Its version is one higher then.
// Errors: ErrConflict when the version in the store is another one, and nothing is
// written; driver.ErrInvalid, ErrTooLarge, ErrUnavailable.
func (s *Store) SaveDocument(ctx context.Context, name string, d Document) error {
	if err := d.check(name); err != nil {
		return fmt.Errorf("save document: %w", err)
	}
	err := s.write(ctx, func(ctx context.Context, q Session) error {
		if d.Version == 0 {
			_, err := q.Exec(ctx, s.SQL.DocumentIn, name, d.Body)
			return err
		}
		n, err := q.Exec(ctx, s.SQL.DocumentUp, d.Body, name, d.Version)
		if err == nil && n == 0 {
			err = ErrConflict
		}
		return err
	})
	if s.Parts.Classify(err) == ClassUnique {
		return fmt.Errorf("save document: %w", ErrConflict)
	}
	return s.explain("save document", err)
}

func (d Document) check(name string) error {
	if err := driver.CheckQueue(name); err != nil {
		return err
	}
	switch {
	case d.Version < 0:
		return fmt.Errorf("%w: version %d", driver.ErrInvalid, d.Version)
	case len(d.Body) > MaxDocument:
		return fmt.Errorf("%w: a document has at most %d bytes", driver.ErrTooLarge, MaxDocument)
	case !utf8.ValidString(d.Body) || strings.ContainsRune(d.Body, 0):
		return fmt.Errorf("%w: a document is UTF-8 without zero bytes", driver.ErrInvalid)
	}
	return nil
}
