package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail"
)

// ErrNoMail: there is no *.eml file to import.
var ErrNoMail = errors.New("no .eml files")

// tries bounds how often one file is tried. Trying again is safe even if a
// commit that failed has succeeded: what is there already is not added.
const tries = 10

// ImportOptions say what to import.
type ImportOptions struct {
	Files  fs.FS // its *.eml files at the top are imported, in the order of their names
	Copies int   // messages for each accepted mail, each with a recipient of its own; 0 means 1
	// Transient reports whether an error of the database may be gone the next
	// time, as a deadlock is; then a file is tried again. nil means none is.
	Transient func(error) bool
	// Progress is called after each file that is committed; nil means not at all.
	Progress func(Imported)
}

// Imported counts what an import did.
type Imported struct {
	Files      int // files read so far
	Total      int // files there are
	Dispatched int // messages
	Refused    int // mails that are no mails, or hostile ones
	Known      int // mails and copies that had been imported before
}

// Import reads mails and dispatches a message for each. Per file there is one
// transaction on db, with the ledger's rows and the messages; so when a row is
// there, its message is, and importing again adds nothing. A mail that cannot
// be read as one is recorded as refused, and the import goes on. db must be
// the database of the dispatcher's store, with the tables installed.
func Import(ctx context.Context, db Database, d *posthorn.Dispatcher, o ImportOptions) (Imported, error) {
	names, err := fs.Glob(o.Files, "*.eml")
	if err != nil {
		return Imported{}, fmt.Errorf("list mails: %w", err)
	}
	if len(names) == 0 {
		return Imported{}, ErrNoMail
	}
	done := Imported{Total: len(names)}
	for _, name := range names {
		one, err := importFile(ctx, db, d, source{o.Files, name, max(o.Copies, 1)})
		for again := 1; again < tries && err != nil && o.Transient != nil && o.Transient(err); again++ {
			one, err = importFile(ctx, db, d, source{o.Files, name, max(o.Copies, 1)})
		}
		if err != nil {
			return done, fmt.Errorf("import %s: %w", name, err)
		}
		done.Files++
		done.Dispatched += one.Dispatched
		done.Refused += one.Refused
		done.Known += one.Known
		if o.Progress != nil {
			o.Progress(done)
		}
	}
	return done, nil
}

// source is one file to import.
type source struct {
	files  fs.FS
	name   string
	copies int
}

func (s source) read() (*mail.Mail, error) {
	file, err := s.files.Open(s.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return mail.Read(file)
}

func importFile(ctx context.Context, db Database, d *posthorn.Dispatcher, s source) (Imported, error) {
	m, err := s.read()
	var fault *mail.Error
	if err != nil && !errors.As(err, &fault) {
		return Imported{}, err
	}
	tx, err := db.db.BeginTx(ctx, nil)
	if err != nil {
		return Imported{}, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	l := &ledger{db: db, tx: tx, dispatcher: d, file: s.name}
	if fault != nil {
		err = l.refuse(ctx, fault)
	} else {
		err = l.accept(ctx, m, s.copies)
	}
	if err != nil {
		return Imported{}, err
	}
	if err := tx.Commit(); err != nil {
		return Imported{}, fmt.Errorf("commit: %w", err)
	}
	return l.done, nil
}

// ledger writes the rows of one file in one transaction.
type ledger struct {
	db         Database
	tx         *sql.Tx
	dispatcher *posthorn.Dispatcher
	file       string
	done       Imported
}

func (l *ledger) refuse(ctx context.Context, fault error) error {
	fresh, err := l.insert(ctx, `{insert_new} mail (id, file, state, reason)
		values (?, ?, 'refused', ?) {unless_there}`, "refused-"+l.file, l.file, fault.Error())
	if fresh {
		l.done.Refused++
	}
	return err
}

func (l *ledger) accept(ctx context.Context, m *mail.Mail, copies int) error {
	for n := range copies {
		msg := message(m, n)
		fresh, err := l.insert(ctx, `{insert_new} mail (id, file, message_id, list, recipient, state)
			values (?, ?, ?, ?, ?, 'dispatched') {unless_there}`,
			msg.Mail, l.file, msg.MessageID, msg.List, msg.Recipient)
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		if err := l.dispatch(ctx, msg); err != nil {
			return err
		}
	}
	return nil
}

// insert runs an insertion of one row, and reports whether the row is new.
func (l *ledger) insert(ctx context.Context, query string, args ...any) (bool, error) {
	result, err := l.tx.ExecContext(ctx, l.db.sql(query), args...)
	if err != nil {
		return false, fmt.Errorf("insert mail: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("insert mail: %w", err)
	}
	if n == 0 {
		l.done.Known++
	}
	return n > 0, nil
}

func (l *ledger) dispatch(ctx context.Context, msg UnsubscribeEmail) error {
	_, err := l.tx.ExecContext(ctx,
		l.db.sql(`{insert_new} subscription (list, recipient) values (?, ?) {unless_there}`), msg.List, msg.Recipient)
	if err != nil {
		return fmt.Errorf("insert subscription: %w", err)
	}
	if _, err := l.dispatcher.DispatchTx(ctx, l.tx, msg, posthorn.WithID(msg.Mail)); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	l.done.Dispatched++
	return nil
}

// message makes the message for the nth copy of a mail. The first one is the
// mail as it is. The others are load for a demo: they differ in their id,
// their recipient and the query of their URL, as the mails to the many readers
// of one list do.
func message(m *mail.Mail, n int) UnsubscribeEmail {
	msg := UnsubscribeEmail{
		Mail: fmt.Sprintf("%.24s-%d", m.Digest, n), MessageID: m.MessageID, List: m.List(),
		Recipient: m.To, Subject: m.Subject, Method: m.Method, URL: m.URL,
	}
	if n == 0 {
		return msg
	}
	msg.Recipient = tagged(m.To, n)
	if m.Method == mail.OneClick {
		msg.URL = withCopy(m.URL, n)
	}
	return msg
}

// tagged adds a sub-address, unless the address would get too long.
func tagged(address string, n int) string {
	at := strings.LastIndexByte(address, '@')
	longer := fmt.Sprintf("%s+%d%s", address[:max(at, 0)], n, address[max(at, 0):])
	if at < 0 || len(longer) > mail.MaxAddress {
		return address
	}
	return longer
}

// withCopy adds a query field to a URL, unless it would get too long. A
// fragment, which is not sent in any case, is lost.
func withCopy(url string, n int) string {
	base, _, _ := strings.Cut(url, "#")
	separator := "?"
	if strings.Contains(base, "?") {
		separator = "&"
	}
	longer := fmt.Sprintf("%s%scopy=%d", base, separator, n)
	if len(longer) > mail.MaxURI {
		return url
	}
	return longer
}
