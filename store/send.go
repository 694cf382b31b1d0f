package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// The states of a live message.
const (
	stateReady   = 0 // waits for a worker
	stateLater   = 1 // waits for its due time
	stateClaimed = 2 // leased to a worker
)

// Send accepts all the envelopes or none.
func (s *Store) Send(ctx context.Context, envs ...driver.Envelope) error {
	if err := s.checkSend(envs); err != nil {
		return err
	}
	if len(envs) == 0 {
		return nil
	}
	err := s.Engine.Write(ctx, func(ctx context.Context, q Session) error { return s.insert(ctx, q, envs) })
	if err != nil {
		return s.explain("send", err)
	}
	s.hub.wake()
	return nil
}

// insert writes envelopes in the session's transaction.
func (s *Store) insert(ctx context.Context, q Session, envs []driver.Envelope) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	rows := make([][]any, len(envs))
	for i, e := range envs {
		if rows[i], err = insertArgs(e, now); err != nil {
			return err
		}
	}
	_, err = q.ExecMany(ctx, s.SQL.Insert, rows)
	return err
}

// insertArgs are the arguments of Statements.Insert.
func insertArgs(e driver.Envelope, now int64) ([]any, error) {
	header, err := encodeHeader(e.Header)
	if err != nil {
		return nil, err
	}
	due, state := dueAt(e, now), stateReady
	if due > now {
		state = stateLater
	}
	body := e.Body
	if body == nil {
		body = []byte{}
	}
	return []any{e.ID, e.Kind, e.Queue, e.Priority, state, due, due, now, e.Attempt, header, body}, nil
}

// dueAt is when an envelope sent now is due.
func dueAt(e driver.Envelope, now int64) int64 {
	switch {
	case e.Delay > 0:
		return now + ceilMillis(e.Delay)
	case !e.NotBefore.IsZero():
		return min(max(now, e.NotBefore.Add(time.Millisecond-1).UnixMilli()), now+ceilMillis(math.MaxInt64))
	default:
		return now
	}
}

// SendTx sends inside the caller's own transaction on the store's database. The
// caller who goes on after an error and commits has sent the envelopes before
// the one that failed: a transaction is all or none by its own end.
func (s *Store) SendTx(ctx context.Context, tx *sql.Tx, envs ...driver.Envelope) error {
	if err := s.checkSend(envs); err != nil {
		return err
	}
	now, err := s.clock(ctx, tx)
	if err != nil {
		return s.explain("send in transaction", err)
	}
	for _, e := range envs {
		if err := s.insertTx(ctx, tx, e, now); err != nil {
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
func (s *Store) insertTx(ctx context.Context, tx *sql.Tx, e driver.Envelope, now int64) error {
	args, err := insertArgs(e, now)
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, s.Rebind(s.SQL.InsertTx), append(args, s.id)...)
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

func encodeHeader(h map[string]string) (any, error) {
	if len(h) == 0 {
		return nil, nil //nolint:nilnil // SQL's null is the encoding of no header
	}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	return string(b), nil
}

func decodeHeader(s sql.NullString) (map[string]string, error) {
	if !s.Valid {
		return nil, nil //nolint:nilnil // no header
	}
	var h map[string]string
	if err := json.Unmarshal([]byte(s.String), &h); err != nil {
		return nil, fmt.Errorf("decode header: %w", err)
	}
	return h, nil
}

// ceilMillis rounds up, so that nothing is due early.
func ceilMillis(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
