package pool

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// errAborted: a commit would succeed and keep nothing.
var errAborted = errors.New("the transaction is aborted")

// A session is one connection. Whoever holds its lane may use it.
type session struct {
	dialect Dialect
	conn    *sql.Conn
	inner   *guard.Conn             // of a connection for effects; used under its lock, by Raw
	raw     *sql.Tx                 // the open transaction of a unit that runs alone
	life    context.Context         //nolint:containedctx // of that transaction
	end     context.CancelCauseFunc // ends it
	answer  time.Duration           // how long the server may be silent
	expires time.Time
	used    time.Time
	broken  bool   // the connection was lost, or the server was at fault
	open    bool   // a transaction is
	begin   bool   // it is begun together with the next statement
	soiled  string // what Inspect found
	visits  int    // of handlers since Inspect
	why     error  // what has aborted the transaction while Inspect prepared its commit
	seen    bool   // Inspect has found nothing before the commit, and no handler has been inside since
}

func (e *Engine) newSession(conn *sql.Conn, expires time.Time) (*session, error) {
	s := &session{dialect: e.dialect, conn: conn, answer: e.opts.Answer, expires: expires, used: time.Now()}
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
	if err != nil && (s.dialect.Lost(err) || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, guard.ErrLost)) {
		s.broken = true
	}
	return err
}

// explain makes a fault of the server driver.ErrUnavailable.
func (s *session) explain(err error, committing bool) error {
	var known *fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	_ = s.note(err)
	if s.broken || s.dialect.Fault(err).Class() == driver.ClassTransient {
		return &fault{err: err, committing: committing && s.broken && !mutant.CommitFails}
	}
	return err
}

// Now is the server's clock.
func (s *session) Now(ctx context.Context) (now int64, err error) {
	err = s.Query(ctx, s.dialect.Now, nil, func(r store.Row) error { return r.Scan(&now) })
	return now, err
}

// Exec runs a statement.
func (s *session) Exec(ctx context.Context, stmt string, args ...any) (touched int64, err error) {
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	err = s.ask(ctx, func(ctx context.Context) error {
		res, err := s.conn.ExecContext(ctx, s.dialect.Rebind(stmt), args...)
		if err != nil {
			return err
		}
		touched, err = res.RowsAffected()
		return err
	})
	return touched, err
}

// ExecMany runs a statement for each row.
func (s *session) ExecMany(ctx context.Context, stmt string, rows [][]any) (out []int64, err error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if s.dialect.Many != nil && len(rows) > 1 {
		err = s.ask(ctx, func(ctx context.Context) error {
			out, err = s.dialect.Many(ctx, s.conn, s.dialect.Rebind(stmt), rows)
			return err
		})
		return out, err
	}
	out = make([]int64, len(rows))
	for i, args := range rows {
		n, err := s.Exec(ctx, stmt, args...)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// Do writes all but the functions of the writes.
func (s *session) Do(ctx context.Context, ws ...*store.Write) error {
	if s.joins() {
		part := Part{Begin: s.begin}
		s.begin = false
		return s.ask(ctx, func(ctx context.Context) error {
			_, err := s.dialect.Join(ctx, s.conn, part, ws)
			return err
		})
	}
	if s.dialect.Do == nil {
		return s.dialect.SQL.Plainly(ctx, s, ws)
	}
	if s.begin {
		s.begin = false
		ws = append([]*store.Write{{Before: []string{s.dialect.Begin}}}, ws...)
	}
	return s.ask(ctx, func(ctx context.Context) error { return s.dialect.Do(ctx, s.conn, ws) })
}

// whole does so in a transaction of its own. It reports whether the commit was sent.
func (s *session) whole(ctx context.Context, ws []*store.Write) (committing bool, err error) {
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		committing, err = s.dialect.Join(ctx, s.conn, Part{Begin: true, Commit: true}, ws)
		return err
	})
	if err != nil {
		s.Rollback(ctx)
	}
	return committing, err
}

// joins reports whether several statements may share a round trip.
func (s *session) joins() bool { return s.dialect.Join != nil && s.inner == nil }

// start begins the transaction if that has not been said to the server yet.
func (s *session) start(ctx context.Context) error {
	if !s.begin {
		return nil
	}
	s.begin = false
	_, err := s.Exec(ctx, s.dialect.Begin)
	return err
}

// Query runs a query.
func (s *session) Query(ctx context.Context, stmt string, args []any, scan func(store.Row) error) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.ask(ctx, func(ctx context.Context) error {
		rows, err := s.conn.QueryContext(ctx, s.dialect.Rebind(stmt), args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // Err below tells what matters
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// Begin opens a transaction.
func (s *session) Begin(ctx context.Context, raw bool) (*sql.Tx, error) {
	s.open = true
	if !raw {
		s.begin = true
		if s.dialect.Do != nil || s.joins() {
			return nil, nil //nolint:nilnil // there is no raw transaction
		}
		return nil, s.start(ctx)
	}
	err := s.askRaw(ctx, func(ctx context.Context) (err error) {
		s.raw, err = s.conn.BeginTx(ctx, nil)
		return err
	})
	return s.raw, err
}

// Commit commits it.
func (s *session) Commit(ctx context.Context) (err error) {
	if err := s.wipe(ctx, false); err != nil {
		return s.note(err)
	}
	s.open = false
	if s.raw != nil {
		err = s.askRaw(ctx, func(context.Context) error { return s.raw.Commit() })
		s.endRaw()
	} else if s.dialect.Whole == nil || s.dialect.Whole(s.conn) {
		_, err = s.Exec(ctx, "commit")
	} else {
		err = errAborted
		if s.why != nil {
			err = s.why
		}
	}
	s.seen = s.seen && err == nil
	return s.note(err)
}

// Rollback ends the transaction if there is one.
func (s *session) Rollback(ctx context.Context) {
	_ = s.wipe(ctx, true)
	s.open, s.seen, s.why = false, false, nil
	if s.begin { // nothing has been said
		s.begin = false
		return
	}
	if s.raw != nil {
		_ = s.askRaw(ctx, func(context.Context) error { return s.raw.Rollback() })
		s.endRaw()
	}
	if s.broken {
		return // the server rolls back when it sees that nobody is there
	}
	_, _ = s.Exec(ctx, "rollback")
}

// wipe undoes what handlers have left, where the session is not the connection's
// own.
func (s *session) wipe(ctx context.Context, rollback bool) error {
	if s.dialect.Wipe == nil || s.visits == 0 || s.broken || !s.open {
		return nil
	}
	return s.ask(ctx, func(ctx context.Context) error { return s.dialect.Wipe(ctx, s.conn, rollback) })
}

// uninspected: a session could not be looked at.
const uninspected = "session cannot be inspected"

// Inspect looks for what handlers have left behind. What cannot be looked at is
// not clean. What the guard knows, Leave has told.
func (s *session) Inspect(ctx context.Context) (left string) {
	if !safety.Guard {
		s.visits = 0
		return ""
	}
	switch {
	case s.visits == 0, s.broken, s.inner.Guard.Dirty() != "":
		return ""
	case s.open && s.inner.Guard.Marked():
		return "setting"
	case s.open && s.visits == 1 && !s.dialect.Local:
		return "" // it is found after the end as well
	}
	when := After
	switch {
	case s.open:
		when = Before
	case s.seen:
		when = Rest
	}
	err := s.ask(ctx, func(ctx context.Context) (err error) {
		left, err = s.dialect.Inspect(ctx, s.conn, when)
		return err
	})
	switch {
	case err != nil && s.open && !s.Whole() && !s.broken:
		s.why = err // and of the commit, which says so
		if s.dialect.Fault(err) == store.FaultStatementTimeout {
			left = uninspected // whose time limit it was nobody knows
		}
	case err != nil:
		left = uninspected
	}
	if s.seen = s.open && err == nil && left == ""; !s.open {
		s.visits, s.soiled = 0, left
		s.inner.Guard.Unmark()
	}
	return left
}

// clean reports whether somebody else may use the connection.
func (s *session) clean() bool {
	return !s.broken && s.visits == 0 && s.soiled == "" && (s.inner == nil || s.inner.Guard.Dirty() == "")
}

// Whole reports whether a commit would keep the transaction.
func (s *session) Whole() bool {
	return !s.broken && (s.dialect.Whole == nil || s.dialect.Whole(s.conn))
}

// User is the connection for a handler's statements.
func (s *session) User() store.UserConn { return s }

// Enter turns the guard on.
func (s *session) Enter(life context.Context, together bool) {
	s.visits++
	s.seen, s.why = false, nil
	s.inner.Guard.Enter(life, together)
}

// MayEnd reports whether the handler has met what may end the transaction.
func (s *session) MayEnd() bool { return s.inner.Guard.Endings() > 0 }

// Leave closes what was left open and turns the guard off. What the handler did
// to the session is for Inspect to find, unless the session is gone.
func (s *session) Leave() string {
	err := s.conn.Raw(func(any) error { s.inner.Sweep(); return nil })
	if err == nil && s.inner.Guard.Cut() && s.ask(context.Background(), s.ping) != nil {
		s.inner.Guard.Refuse("a statement was cut off, and the connection with it")
		s.broken = true
	}
	dirty := s.inner.Guard.Leave()
	if err != nil || s.broken {
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

// Allow refuses what the guard would refuse.
func (s *session) Allow(query string, args []any) error {
	values := make([]sqldriver.NamedValue, len(args))
	for i, a := range args {
		values[i] = sqldriver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return s.conn.Raw(func(any) error { return s.inner.Allow(query, values) })
}

// Run runs a handler's statement.
func (s *session) Run(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return s.conn.ExecContext(ctx, query, args...)
}

// Conn is the connection itself.
func (s *session) Conn() *sql.Conn { return s.conn }

// Explain makes a fault of the server driver.ErrUnavailable, so that it cannot
// be taken for a fault of the handler's own network, nor the other way round.
// Refusals come from the guard as they are.
func (s *session) Explain(err error) error { return s.explain(err, false) }

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
