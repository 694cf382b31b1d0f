package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
)

// The states of a live message.
const (
	stateReady   = 0 // waits for a worker
	stateLater   = 1 // waits for its due time
	stateClaimed = 2 // leased to a worker
	stateSuspect = 3 // waits to be run alone
)

// Send accepts all the envelopes or none.
func (s *Store) Send(ctx context.Context, envs ...driver.Envelope) error {
	if err := s.checkSend(envs); err != nil {
		return err
	}
	if len(envs) == 0 {
		return nil
	}
	ms, err := messages(envs)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	w := &Write{Send: ms, Hand: s.hand(ms)}
	err = s.Engine.Write(ctx, w)
	if w.Hand != "" && s.forbids(err) { // a producer's
		w.Hand = ""
		err = s.Engine.Write(ctx, w)
		s.sending.never.Store(err == nil)
	}
	if err != nil {
		return s.explain("send", err)
	}
	failpoint.Pass(failpoint.AfterSend)
	s.hub.wake()
	return nil
}

// messages are the rows of envelopes.
func messages(envs []driver.Envelope) ([]Message, error) {
	out := make([]Message, len(envs))
	for i, e := range envs {
		m := Message{
			ID: e.ID, Kind: e.Kind, Queue: e.Queue, Priority: e.Priority, Attempt: e.Attempt, Body: e.Body,
		}
		switch {
		case e.Delay > 0:
			m.Delay = ceilMillis(e.Delay)
		case !e.NotBefore.IsZero():
			m.At = min(max(0, e.NotBefore.Add(time.Millisecond-1).UnixMilli()), latest)
		}
		if m.Body == nil {
			m.Body = []byte{}
		}
		var err error
		if m.Header, err = encodeHeader(e.Header); err != nil {
			return nil, err
		}
		out[i] = m
	}
	return out, nil
}

// latest is the last time at which a message can be due: the end of the year
// 9999, so that it can be written and read everywhere.
const latest = 253402300799999

// SendTx sends inside the caller's own transaction on the store's database. The
// caller who goes on after an error and commits has sent the envelopes before
// the one that failed: a transaction is all or none by its own end.
func (s *Store) SendTx(ctx context.Context, tx *sql.Tx, envs ...driver.Envelope) error {
	if err := s.checkSend(envs); err != nil {
		return err
	}
	ms, err := messages(envs)
	if err != nil {
		return fmt.Errorf("send in transaction: %w", err)
	}
	now, err := s.clock(ctx, tx)
	if err != nil {
		return s.explain("send in transaction", err)
	}
	for _, m := range ms {
		if err := s.insertTx(ctx, tx, m, now); err != nil {
			return fmt.Errorf("send in transaction: %w", err)
		}
	}
	return nil
}

// clock is the store's clock, asked in a transaction of the caller.
func (s *Store) clock(ctx context.Context, tx *sql.Tx) (now int64, err error) {
	if s.SQL.Now == "" {
		return time.Now().UnixMilli(), nil
	}
	err = tx.QueryRowContext(ctx, s.SQL.Now).Scan(&now)
	return now, err
}

// insertTx writes one envelope, unless the transaction is on another database.
func (s *Store) insertTx(ctx context.Context, tx *sql.Tx, m Message, now int64) error {
	res, err := tx.ExecContext(ctx, s.Rebind(s.SQL.InsertTx), append(m.row(now), s.id)...)
	if s.Parts.Classify(err) == ClassNoTable {
		return fmt.Errorf("%w: %w", driver.ErrWrongStore, err)
	}
	if err != nil {
		return s.explain("insert", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return driver.ErrWrongStore
	}
	return nil
}

// checkSend refuses envelopes before anything is written.
func (s *Store) checkSend(envs []driver.Envelope) error {
	caps := s.Capabilities()
	for _, e := range envs {
		if err := driver.CheckSend(caps, e); err != nil {
			return fmt.Errorf("send %s: %w", e.Kind, err)
		}
	}
	return nil
}

// ceilMillis rounds up, so that nothing is due early.
func ceilMillis(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// toMillis is what columns have of a time; 0 is none.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
