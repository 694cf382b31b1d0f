package store

import (
	"database/sql"
	"fmt"
	"strconv"

	"github.com/posthorn/posthorn/driver"
)

// A claimed reads the rows of a claim, one after the other. What one has in common with the
// row before it is kept, and where it is read to, too: a claim has hundreds of them.
type claimed struct {
	token string
	dest  []any
	text  []byte // of a token

	seq, priority, attempt, deliveries, crashes, due, sent int64

	id          string
	kind, queue repeated
	header      sql.NullString
	body        []byte
}

// newClaimed reads the rows that are claimed under a token.
func newClaimed(token string) *claimed {
	c := &claimed{token: token}
	c.dest = []any{
		&c.seq, &c.id, &c.kind, &c.queue, &c.priority, &c.attempt, &c.deliveries, &c.crashes, &c.due, &c.sent,
		&c.header, &c.body,
	}
	return c
}

// read reads a row of Statements.Claim.
func (c *claimed) read(r Row) (d driver.Delivery, err error) {
	c.body = nil // it is the delivery's before
	if err := r.Scan(c.dest...); err != nil {
		return d, err
	}
	c.text = append(append(strconv.AppendInt(c.text[:0], c.seq, 10), '.'), c.token...)
	d = driver.Delivery{
		Envelope: driver.Envelope{
			ID: c.id, Kind: c.kind.string, Queue: c.queue.string, Priority: int(c.priority), Attempt: int(c.attempt),
			NotBefore: fromMillis(c.due), SentAt: fromMillis(c.sent), Body: c.body,
		},
		Deliveries: int(c.deliveries), Crashes: int(c.crashes), Token: driver.Token(c.text),
	}
	d.Header, err = decodeHeader(c.header)
	return d, err
}

// A repeated is a text that is often that of the row before: then it costs no other one.
type repeated struct{ string }

// ScanBytes reads it as pgx gives it (pgtype.BytesScanner).
func (w *repeated) ScanBytes(text []byte) error {
	if string(text) != w.string {
		w.string = string(text)
	}
	return nil
}

// Scan reads it as database/sql gives it.
func (w *repeated) Scan(text any) error {
	switch text := text.(type) {
	case []byte:
		return w.ScanBytes(text)
	case string:
		if text != w.string {
			w.string = text
		}
		return nil
	}
	return fmt.Errorf("%T is no text", text)
}

var _ sql.Scanner = (*repeated)(nil)
