package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"

	engine "modernc.org/sqlite"

	"github.com/posthorn/posthorn/driver"
)

// errNoInterface: the driver lacks something that the guard builds on.
var errNoInterface = errors.New("the SQLite driver lacks an interface")

// An engineConn is a connection of the driver, with all that it can do.
type engineConn interface {
	sqldriver.Conn
	sqldriver.ConnPrepareContext
	sqldriver.ConnBeginTx
	sqldriver.ExecerContext
	sqldriver.QueryerContext
	sqldriver.Pinger
	sqldriver.SessionResetter
	sqldriver.Validator
	engine.AuthorizerRegisterer
	engine.HookRegisterer
}

// An engineStmt is a prepared statement of the driver.
type engineStmt interface {
	sqldriver.Stmt
	sqldriver.StmtExecContext
	sqldriver.StmtQueryContext
}

// An engineRows is a result of the driver.
type engineRows interface {
	sqldriver.Rows
	sqldriver.RowsColumnTypeDatabaseTypeName
	sqldriver.RowsColumnTypeLength
	sqldriver.RowsColumnTypeNullable
	sqldriver.RowsColumnTypePrecisionScale
	sqldriver.RowsColumnTypeScanType
}

// A connector opens connections that have a guard.
type connector struct{ sqldriver.Connector }

// Connect opens one.
func (c connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	raw, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(engineConn)
	if !ok {
		return nil, errors.Join(errNoInterface, raw.Close())
	}
	gc := &guardedConn{engineConn: conn, guard: &guard{}, rows: map[*guardedRows]bool{}, stmts: map[*guardedStmt]bool{}}
	if err := gc.guard.install(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return gc, nil
}

// A guardedConn is a connection under the session guard. It ends a handler's
// statements with the handler's life, whichever way they came: through Tx, a
// prepared statement or the raw transaction. And it can close what a handler
// left open, in the right order: database/sql would free a prepared statement
// whose rows are still in use. database/sql calls it from one goroutine at a
// time.
type guardedConn struct {
	engineConn
	guard *guard
	rows  map[*guardedRows]bool // what the handler has open
	stmts map[*guardedStmt]bool
	lent  int // a handler's rows that database/sql has not closed yet
	dead  bool
}

// ExecContext runs a statement.
func (c *guardedConn) ExecContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (sqldriver.Result, error) {
	ctx, done := c.guard.bind(ctx)
	defer done()
	return c.engineConn.ExecContext(ctx, query, args)
}

// QueryContext runs a query.
func (c *guardedConn) QueryContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (sqldriver.Rows, error) {
	ctx, done := c.guard.bind(ctx)
	rows, err := c.engineConn.QueryContext(ctx, query, args)
	return c.track(rows, err, done)
}

// PrepareContext prepares a statement.
func (c *guardedConn) PrepareContext(ctx context.Context, query string) (sqldriver.Stmt, error) {
	raw, err := c.engineConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	stmt, ok := raw.(engineStmt)
	if !ok {
		return nil, errors.Join(errNoInterface, raw.Close())
	}
	s := &guardedStmt{engineStmt: stmt, conn: c}
	if c.guard.watches() {
		c.stmts[s] = true
	}
	return s, nil
}

// track keeps a handler's rows in mind.
func (c *guardedConn) track(raw sqldriver.Rows, err error, done func()) (sqldriver.Rows, error) {
	if err != nil {
		done()
		return nil, err
	}
	rows, ok := raw.(engineRows)
	if !ok {
		done()
		return nil, errors.Join(errNoInterface, raw.Close())
	}
	r := &guardedRows{engineRows: rows, conn: c, done: done}
	if c.guard.watches() {
		c.rows[r] = true
		c.lent++
		r.lent = true
	}
	return r, nil
}

// sweep closes what the handler left open: rows first, then statements.
func (c *guardedConn) sweep() {
	for r := range c.rows {
		_ = r.end() // its error is the handler's, who did not want it
	}
	for s := range c.stmts {
		_ = s.Close()
	}
}

// kill closes the connection beneath database/sql, and reports whether
// database/sql believes that some of its rows are still open.
func (c *guardedConn) kill() (lent bool) {
	c.sweep()
	c.dead = true
	_ = c.engineConn.Close() // it is given up, whatever this says
	return c.lent > 0
}

// Close closes the connection, unless it was killed.
func (c *guardedConn) Close() error {
	if c.dead {
		return nil
	}
	return c.engineConn.Close()
}

// IsValid keeps a killed connection out of the pool.
func (c *guardedConn) IsValid() bool { return !c.dead && c.engineConn.IsValid() }

// A guardedStmt is a prepared statement on a guardedConn.
type guardedStmt struct {
	engineStmt
	conn   *guardedConn
	closed bool
}

// ExecContext runs it.
func (s *guardedStmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if s.closed {
		return nil, driver.ErrTxDone
	}
	ctx, done := s.conn.guard.bind(ctx)
	defer done()
	return s.engineStmt.ExecContext(ctx, args)
}

// QueryContext runs it.
func (s *guardedStmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if s.closed {
		return nil, driver.ErrTxDone
	}
	ctx, done := s.conn.guard.bind(ctx)
	rows, err := s.engineStmt.QueryContext(ctx, args)
	return s.conn.track(rows, err, done)
}

// Close frees it, once.
func (s *guardedStmt) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	delete(s.conn.stmts, s)
	return s.engineStmt.Close()
}

// guardedRows are a result on a guardedConn.
type guardedRows struct {
	engineRows
	conn   *guardedConn
	done   func()
	lent   bool
	closed bool
}

// Next reads a row.
func (r *guardedRows) Next(dest []sqldriver.Value) error {
	if r.closed {
		return driver.ErrTxDone
	}
	return r.engineRows.Next(dest)
}

// Close is database/sql's.
func (r *guardedRows) Close() error {
	if r.lent {
		r.lent = false
		r.conn.lent--
	}
	return r.end()
}

// end frees them, once.
func (r *guardedRows) end() error {
	if r.closed {
		return nil
	}
	r.closed = true
	delete(r.conn.rows, r)
	defer r.done()
	return r.engineRows.Close()
}
