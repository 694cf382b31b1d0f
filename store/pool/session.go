package pool

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// A session is one connection. Whoever holds its lane may use it.
type session struct {
	dialect Dialect
	conn    *sql.Conn
	inner   *guard.Conn // of a connection for effects; used under its lock, by Raw
	raw     *sql.Tx     // the open transaction of a unit that runs alone
	expires time.Time
	used    time.Time
	broken  bool   // the connection was lost, or the server was at fault
	soiled  string // what Inspect found
	visited bool   // a handler was inside since Inspect
}

func newSession(d Dialect, conn *sql.Conn, expires time.Time) (*session, error) {
	s := &session{dialect: d, conn: conn, expires: expires, used: time.Now()}
	err := conn.Raw(func(c any) error {
		s.inner, _ = c.(*guard.Conn)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return s, nil
}

func (s *session) ping(ctx context.Context) error { return s.conn.PingContext(ctx) }

// note remembers that the connection was lost.
func (s *session) note(err error) error {
	if err != nil && (s.dialect.Lost(err) || errors.Is(err, sqldriver.ErrBadConn)) {
		s.broken = true
	}
	return err
}

// explain makes a fault of the server driver.ErrUnavailable.
func (s *session) explain(err error, committing bool) error {
	if err == nil || errors.Is(err, driver.ErrUnavailable) {
		return err
	}
	if s.note(err); s.broken || s.dialect.Classify(err) == driver.ClassTransient {
		return &fault{err: err, committing: committing && s.broken}
	}
	return err
}

// Now is the server's clock.
func (s *session) Now(ctx context.Context) (now int64, err error) {
	err = s.Query(ctx, s.dialect.Now, nil, func(r store.Row) error { return r.Scan(&now) })
	return now, err
}

// Exec runs a statement.
func (s *session) Exec(ctx context.Context, stmt string, args ...any) (int64, error) {
	res, err := s.conn.ExecContext(ctx, s.dialect.Rebind(stmt), args...)
	if err != nil {
		return 0, s.note(err)
	}
	return res.RowsAffected()
}

// ExecMany runs a statement for each row.
func (s *session) ExecMany(ctx context.Context, stmt string, rows [][]any) ([]int64, error) {
	if s.dialect.Many != nil && len(rows) > 1 {
		out, err := s.dialect.Many(ctx, s.conn, s.dialect.Rebind(stmt), rows)
		return out, s.note(err)
	}
	out := make([]int64, len(rows))
	for i, args := range rows {
		n, err := s.Exec(ctx, stmt, args...)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// Query runs a query.
func (s *session) Query(ctx context.Context, stmt string, args []any, scan func(store.Row) error) error {
	rows, err := s.conn.QueryContext(ctx, s.dialect.Rebind(stmt), args...)
	if err != nil {
		return s.note(err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return s.note(rows.Err())
}

// Begin opens a transaction.
func (s *session) Begin(ctx context.Context, raw bool) (*sql.Tx, error) {
	if !raw {
		_, err := s.Exec(ctx, s.dialect.Begin)
		return nil, err
	}
	tx, err := s.conn.BeginTx(ctx, nil)
	s.raw = tx
	return tx, s.note(err)
}

// Commit commits it, and inspects the session after a handler was inside.
func (s *session) Commit(ctx context.Context) error {
	var err error
	if s.raw != nil {
		err = s.raw.Commit()
		s.raw = nil
	} else {
		_, err = s.Exec(ctx, "commit")
	}
	if err == nil {
		s.inspect(ctx)
	}
	return s.note(err)
}

// Rollback ends the transaction if there is one.
func (s *session) Rollback(ctx context.Context) {
	if s.raw != nil {
		_ = s.raw.Rollback()
		s.raw = nil
	}
	if _, err := s.Exec(ctx, "rollback"); err == nil {
		s.inspect(ctx)
	}
}

// inspect looks for what handlers left behind. What cannot be looked at is not
// clean.
func (s *session) inspect(ctx context.Context) {
	if !s.visited || s.broken || s.dialect.Inspect == nil {
		return
	}
	s.visited = false
	dirty, err := s.dialect.Inspect(ctx, s.conn)
	if err != nil {
		dirty = "session cannot be inspected"
	}
	if dirty != "" {
		s.soiled = dirty
	}
}

// dirty says why nobody else may use the connection.
func (s *session) dirty() string {
	if s.soiled == "" && s.inner != nil {
		return s.inner.Guard.Dirty()
	}
	return s.soiled
}

// User is the connection for a handler's statements.
func (s *session) User() store.UserConn { return s }

// Enter turns the guard on.
func (s *session) Enter(life context.Context) {
	s.visited = true
	s.inner.Guard.Enter(life)
}

// Leave closes what was left open and turns the guard off. What the handler did
// to the session is found when the transaction has ended.
func (s *session) Leave() string {
	err := s.conn.Raw(func(any) error { s.inner.Sweep(); return nil })
	dirty := s.inner.Guard.Leave()
	if err != nil {
		s.broken = true
		return "connection lost"
	}
	return dirty
}

// Refused is the guard's last refusal.
func (s *session) Refused() error { return s.inner.Guard.Refused() }

// Own runs a statement of Posthorn's own in a handler's transaction.
func (s *session) Own(fn func() error) error {
	s.inner.Guard.Suspend(true)
	defer s.inner.Guard.Suspend(false)
	return fn()
}

// Run runs a handler's statement.
func (s *session) Run(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return s.conn.ExecContext(ctx, query, args...)
}

// Conn is the connection itself.
func (s *session) Conn() *sql.Conn { return s.conn }

// Explain notes a fault; refusals come from the guard as they are.
func (s *session) Explain(err error) error { return s.note(err) }

// destroy ends the connection instead of returning it to its pool.
func (s *session) destroy() {
	borrowed := false
	_ = s.conn.Raw(func(c any) error {
		if s.inner != nil {
			borrowed = s.inner.Kill()
			return nil
		}
		return sqldriver.ErrBadConn
	})
	if !borrowed {
		_ = s.conn.Close()
	}
}
