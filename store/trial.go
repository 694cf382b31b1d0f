package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Trial is what became of an effect whose transaction was rolled back.
type Trial struct {
	// Err is what the effect ended with, or a statement that it queued; nil: it would have
	// been committed, unless the commit itself had failed.
	Err error
	// Rows is how many rows its statements have inserted, updated or deleted, those that
	// triggers changed included; -1 where the database does not tell after a failure.
	Rows  int64
	Sent  []driver.Envelope // what it has sent in the transaction; nothing is kept
	Took  time.Duration
	Dirty string // what it has left in the session, which is destroyed; empty: nothing
}

// ErrNoTrial: an effect of this sort cannot be tried on this database with certainty
// that nothing is kept. Compare with errors.Is.
var ErrNoTrial = errors.New("it cannot be tried here")

// Try runs the effect of a unit in a transaction of its own under the session guard, as
// Transact does, and always rolls it back. The delivery's token is not looked at and
// nothing is acknowledged. What the effect does by other ways than its driver.Tx
// is not undone. MySQL would let a procedure commit, so the effect runs in an XA
// transaction there, in which the server refuses that; a unit with a raw transaction is
// refused with ErrNoTrial. That it was tried is kept in the audit. The error is the
// store's own; what the effect fails with is in the Trial.
func (s *Store) Try(ctx context.Context, u driver.Unit) (Trial, error) {
	if u.Alone && s.SQL.TrialBegin != "" {
		return Trial{}, fmt.Errorf("%w: a handler with a raw transaction could commit by a procedure", ErrNoTrial)
	}
	r := &rehearsal{store: s, unit: u, xid: rand128()}
	effect := u.Effect
	r.unit.Effect = func(ctx context.Context, tx driver.Tx) error { return effect(ctx, &trialTx{Tx: tx, sent: &r.Sent}) }
	err := s.Engine.Exclusive(ctx, r.run)
	a := Act{Verb: VerbTry, Messages: []string{u.Delivery.ID}, Count: 1, Became: "it would have been done"}
	switch {
	case ctx.Err() != nil:
		a.Became = "nobody waited for its end"
	case err != nil:
		return Trial{}, s.explain("try", err)
	case r.Err != nil:
		a.Became = "it would have failed: " + r.Err.Error()
	}
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
	defer cancel()
	noted := s.write(note, func(ctx context.Context, q Session) error { return s.audit(ctx, q, a) })
	return r.Trial, errors.Join(s.explain("try", err), s.explain("note trial", noted))
}

// noteWithin bounds how long the note of a trial may take, for which nobody waits any longer.
const noteWithin = 5 * time.Second

// A rehearsal is a Trial in the making.
type rehearsal struct {
	Trial
	store *Store
	unit  driver.Unit
	xid   string // nobody can guess it
	raw   *sql.Tx
}

// run is the whole trial on one connection.
func (r *rehearsal) run(ctx context.Context, c Conn) error {
	defer r.undo(ctx, c)
	if err := r.begin(ctx, c); err != nil {
		return err
	}
	before, err := r.touched(ctx, c)
	if err != nil {
		return err
	}
	noise, err := r.touched(ctx, c) // some servers count the question
	if err != nil {
		return err
	}
	g := &group{
		store: r.store, units: []driver.Unit{r.unit}, errs: make([]error, 1), alone: true,
		single: map[int]bool{}, slow: map[int]bool{},
	}
	defer g.run.close()
	sp := &span{group: g, conn: c, raw: r.raw, units: []int{0}}
	if r.store.MustAsk {
		if _, err := c.Exec(ctx, r.store.SQL.Savepoint); err != nil {
			return err
		}
		g.saved = true
	}
	began := time.Now()
	r.Err = sp.single(0)
	r.Took, r.Rows = time.Since(began), -1
	if err := sp.proof(ctx); r.Err == nil {
		r.Err = err
	}
	if r.Err == nil && r.store.SQL.TrialCheck != "" {
		_, r.Err = c.Exec(ctx, r.store.SQL.TrialCheck)
	}
	if after, err := r.touched(ctx, c); err == nil {
		r.Rows = after - noise - (noise - before) - int64(len(r.Sent))
	}
	r.undo(ctx, c)
	r.Dirty = c.Inspect(ctx)
	return nil
}

func (r *rehearsal) begin(ctx context.Context, c Conn) (err error) {
	if r.store.SQL.TrialBegin == "" {
		r.raw, err = c.Begin(ctx, r.unit.Alone)
		return err
	}
	_, err = c.Exec(ctx, r.own(r.store.SQL.TrialBegin))
	return err
}

// own is a statement about the transaction of this trial.
func (r *rehearsal) own(stmt string) string {
	return strings.ReplaceAll(stmt, "?", "'posthorn_"+r.xid+"'")
}

// undo rolls back, whatever stands. It may be called twice.
func (r *rehearsal) undo(ctx context.Context, c Conn) {
	c.Rollback(ctx)
	if r.store.SQL.TrialBegin == "" || r.xid == "" {
		return
	}
	_, _ = c.Exec(ctx, r.own(r.store.SQL.TrialEnd)) // a lost connection is rolled back by the server
	_, _ = c.Exec(ctx, r.own(r.store.SQL.TrialUndo))
	r.xid = ""
}

// touched is how many rows the session, or its transaction, has changed.
func (r *rehearsal) touched(ctx context.Context, c Conn) (n int64, err error) {
	err = c.Query(ctx, r.store.SQL.Touched, nil, func(row Row) error {
		var part int64
		err := row.Scan(new(string), &part)
		n += part
		return err
	})
	return n, err
}

// A trialTx remembers what is sent.
type trialTx struct {
	driver.Tx
	sent *[]driver.Envelope
}

// Send sends in the transaction, which will not be committed.
func (t *trialTx) Send(ctx context.Context, envs ...driver.Envelope) error {
	err := t.Tx.Send(ctx, envs...)
	if err == nil {
		*t.sent = append(*t.sent, envs...)
	}
	return err
}
