package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// A session runs statements on one connection, each prepared once. Whoever
// holds the connection's lock may use it.
type session struct {
	sql   *store.Statements
	conn  *sql.Conn
	inner *guard.Conn // of conn; used under its lock, by Raw
	guard *guard.Guard
	stmts map[string]*sql.Stmt
	users map[string]*sql.Stmt // handlers' statements
	raw   *sql.Tx              // the open transaction of a unit that runs alone
}

// newSession takes the pool's connection, under a guard of its own.
func newSession(ctx context.Context, pool *sql.DB, stmts *store.Statements) (*session, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{sql: stmts, conn: conn, stmts: map[string]*sql.Stmt{}, users: map[string]*sql.Stmt{}}
	err = conn.Raw(func(c any) error {
		inner, ok := c.(*guard.Conn)
		if !ok {
			return errNoInterface
		}
		s.inner, s.guard = inner, inner.Guard
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// Now is the host's clock: all processes that share the file share the host.
func (s *session) Now(context.Context) (int64, error) { return time.Now().UnixMilli(), nil }

// Exec runs a statement.
func (s *session) Exec(ctx context.Context, stmt string, args ...any) (int64, error) {
	p, err := s.prepare(ctx, stmt)
	if err != nil {
		return 0, err
	}
	res, err := p.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Do writes statement by statement: there is no network to save.
func (s *session) Do(ctx context.Context, ws ...*store.Write) error { return s.sql.Plainly(ctx, s, ws) }

// together is how many rows are inserted by one statement.
const together = 50

// ExecMany runs a statement for each row: there is no network to save. Only an
// insertion takes many rows at once, since most of its cost is not the row's.
func (s *session) ExecMany(ctx context.Context, stmt string, rows [][]any) ([]int64, error) {
	out := make([]int64, len(rows))
	done := 0
	if one, ok := oneRow(stmt); ok {
		many := stmt + strings.Repeat(", "+one, together-1)
		for ; len(rows)-done >= together; done += together {
			if _, err := s.Exec(ctx, many, slices.Concat(rows[done:done+together]...)...); err != nil {
				return nil, err
			}
			fill(out[done:done+together], 1)
		}
	}
	for i, args := range rows[done:] {
		i += done
		n, err := s.Exec(ctx, stmt, args...)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// oneRow is the list of parameters that an insertion of values ends with.
func oneRow(stmt string) (one string, ok bool) {
	return store.InsertRow, strings.HasSuffix(stmt, " values "+store.InsertRow)
}

func fill(s []int64, v int64) {
	for i := range s {
		s[i] = v
	}
}

// Query runs a query.
func (s *session) Query(ctx context.Context, stmt string, args []any, scan func(store.Row) error) error {
	p, err := s.prepare(ctx, stmt)
	if err != nil {
		return err
	}
	rows, err := p.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, scan)
}

func eachRow(rows *sql.Rows, scan func(store.Row) error) error {
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *session) prepare(ctx context.Context, stmt string) (*sql.Stmt, error) {
	if p := s.stmts[stmt]; p != nil {
		return p, nil
	}
	p, err := s.conn.PrepareContext(ctx, stmt)
	if err != nil {
		return nil, err
	}
	s.stmts[stmt] = p
	return p, nil
}

// Begin opens the transaction of a group. It takes the write lock at once, so
// that no later statement can fail for want of it.
func (s *session) Begin(ctx context.Context, raw bool) (*sql.Tx, error) {
	if !raw {
		_, err := s.Exec(ctx, "begin immediate")
		return nil, err
	}
	tx, err := s.conn.BeginTx(ctx, nil) // immediate, too: see the pool's address
	s.raw = tx
	return tx, err
}

// Commit commits the group's transaction.
func (s *session) Commit(ctx context.Context) error {
	if s.raw != nil {
		err := s.raw.Commit()
		s.raw = nil
		return err
	}
	_, err := s.Exec(ctx, "commit")
	return err
}

// Rollback ends the transaction if there is one. "cannot rollback - no
// transaction is active" is what it finds after one that ended by itself.
func (s *session) Rollback(ctx context.Context) {
	if s.raw != nil {
		_ = s.raw.Rollback()
		s.raw = nil
	}
	_, _ = s.Exec(ctx, "rollback")
}

// Whole reports whether the transaction still stands. Where SQLite has ended it,
// the guard has refused what came afterwards.
func (s *session) Whole() bool { return true }

// User is the connection for a handler's statements.
func (s *session) User() store.UserConn { return s }

// Enter turns the guard on.
func (s *session) Enter(life context.Context, together bool) { s.guard.Enter(life, together) }

// MayEnd reports whether the handler has met a savepoint that may be another's.
func (s *session) MayEnd() bool { return s.guard.Endings() > 0 }

// Leave closes what was left open and turns the guard off. It tells what will
// outlive the transaction.
func (s *session) Leave() string {
	err := s.conn.Raw(func(any) error { s.inner.Sweep(); return nil })
	if dirty := s.guard.Leave(); dirty != "" || err == nil {
		return dirty
	}
	return "connection lost"
}

// Inspect finds nothing: SQLite's own hooks have told Leave.
func (s *session) Inspect(context.Context) string { return "" }

// Refused is the guard's last refusal.
func (s *session) Refused() error { return s.guard.Refused() }

// Own runs a statement of Posthorn's own in a handler's transaction.
func (s *session) Own(fn func() error) error {
	s.guard.Suspend(true)
	defer s.guard.Suspend(false)
	return fn()
}

// Allow leaves it to SQLite, which asks the guard when it compiles the statement.
func (s *session) Allow(string, []any) error { return nil }

// maxKept bounds the handlers' statements that are kept prepared. An
// application has some; what builds its statements from values has no end.
const maxKept = 100

// Run runs a handler's statement, and keeps it prepared: compiling a small
// statement costs more than running it. The guard was asked when it was
// compiled, and is asked again whenever SQLite compiles it anew; one that
// soiled the session is not kept, so that it soils it each time, nor is one that uses a
// savepoint: beside others it is refused.
func (s *session) Run(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if p := s.users[query]; p != nil {
		return p.ExecContext(ctx, args...)
	}
	if len(s.users) >= maxKept {
		return s.conn.ExecContext(ctx, query, args...)
	}
	endings := s.guard.Endings()
	p, err := s.conn.PrepareContext(guard.Keep(ctx), query)
	if err != nil {
		return nil, err
	}
	if s.guard.Dirty() == "" && s.guard.Endings() == endings {
		s.users[query] = p
		return p.ExecContext(ctx, args...)
	}
	defer func() { _ = p.Close() }()
	return p.ExecContext(ctx, args...)
}

// Conn is the connection itself.
func (s *session) Conn() *sql.Conn { return s.conn }

// Explain turns the guard's refusal into driver.ErrTxRefused.
func (s *session) Explain(err error) error { return explain(s.guard, err) }

// destroy ends the connection instead of returning it to the pool. Where a
// handler's rows are open under a context that never ends, database/sql would
// wait for them before it closes: the connection is closed beneath it.
func (s *session) destroy() {
	for _, p := range s.stmts {
		_ = p.Close()
	}
	for _, p := range s.users {
		_ = p.Close()
	}
	borrowed := false
	_ = s.conn.Raw(func(any) error { borrowed = s.inner.Kill(); return nil })
	if !borrowed {
		_ = s.conn.Close()
	}
}
