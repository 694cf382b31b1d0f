package guard

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/driver"
)

// errNoInterface: the driver lacks something that the guard builds on.
var errNoInterface = errors.New("the database's driver lacks an interface")

// ErrLost: the connection is gone. It stands for the driver's ErrBadConn, at
// which database/sql would close the connection, and wait for that until all
// that is open on it is closed: rows of a handler, or the transaction in which
// the very statement runs.
var ErrLost = errors.New("connection lost")

func hide(err error) error {
	if errors.Is(err, sqldriver.ErrBadConn) {
		return fmt.Errorf("%w: %v", ErrLost, err) //nolint:errorlint // it is to be hidden
	}
	return err
}

// A Raw is what a driver's connection must be able to do.
type Raw interface {
	sqldriver.Conn
	sqldriver.ConnPrepareContext
	sqldriver.ConnBeginTx
	sqldriver.ExecerContext
	sqldriver.QueryerContext
	sqldriver.Pinger
	sqldriver.SessionResetter
}

// rawStmt is what a driver's prepared statement must be able to do.
type rawStmt interface {
	sqldriver.Stmt
	sqldriver.StmtExecContext
	sqldriver.StmtQueryContext
}

// A Connector opens connections that have a guard.
type Connector struct {
	sqldriver.Connector
	// Install prepares a new connection; nil does nothing.
	Install func(ctx context.Context, conn sqldriver.Conn, g *Guard) error
	// Check says why a handler must not run a statement, by its text; empty
	// allows it. Nil allows all.
	Check func(conn sqldriver.Conn, query string) string
	// CheckArgs says why a handler must not pass these arguments; nil allows all. A
	// driver may take some that change the text after Check has read it.
	CheckArgs func(args []sqldriver.NamedValue) string
	// Ends reports whether a statement may undo or commit what others have done in the
	// transaction: by a procedure that commits, or by a savepoint that was there before.
	// Nil: none can. Check has let it through.
	Ends func(query string) bool
	// Mark says what a statement leaves in the session that the dialect cannot
	// find there; nil: nothing.
	Mark func(query string) Mark
	// Standing reports whether the connection's transaction is still open; nil
	// does not know. A handler runs nothing outside its transaction.
	Standing func(conn sqldriver.Conn) bool
	// Cutter is what ends the statements of a connection from outside. Where it is nil, or returns nil,
	// the driver is left to end them with their contexts.
	Cutter func(conn sqldriver.Conn) Cutter
}

// Connect opens one.
func (c Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := opened.(Raw)
	if !ok {
		return nil, errors.Join(errNoInterface, opened.Close())
	}
	gc := &Conn{
		Raw: raw, Guard: &Guard{}, check: c.Check, checkArgs: c.CheckArgs, mark: c.Mark, standing: c.Standing, ends: c.Ends,
		rows: map[*rows]bool{}, stmts: map[*stmt]bool{}, cuts: cuts{cutter: c.cutterOf(raw)},
	}
	if c.Install != nil {
		if err := c.Install(ctx, raw, gc.Guard); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	return gc, nil
}

// A Conn is a connection under the guard. It ends a handler's statements with
// the handler's life, whichever way they came: through Tx, a prepared statement
// or the raw transaction. And it can close what a handler left open, in the
// right order: database/sql would free a prepared statement whose rows are
// still in use. database/sql calls it from one goroutine at a time.
type Conn struct {
	Raw
	Guard    *Guard
	check    func(sqldriver.Conn, string) string
	ends     func(string) bool
	mark     func(string) Mark
	standing func(sqldriver.Conn) bool

	checkArgs func([]sqldriver.NamedValue) string
	cuts      cuts

	rows  map[*rows]bool // what the handler has open
	stmts map[*stmt]bool
	lent  int // a handler's rows that database/sql has not closed yet
	dead  bool
}

// stands refuses a handler's statement when its transaction is over: the
// statement would be committed by itself.
func (c *Conn) stands() error {
	if c.standing == nil || !c.Guard.Watches() || c.standing(c.Raw) {
		return nil
	}
	return driver.ErrTxEnded
}

// allow refuses a handler's statement by its text, or notes what it leaves.
func (c *Conn) allow(query string) error {
	if err := c.stands(); err != nil {
		return err
	}
	if !c.Guard.Watches() {
		return nil
	}
	if c.check != nil {
		if why := c.check(c.Raw, query); why != "" {
			c.Guard.Refuse(why)
			return c.Guard.Refused()
		}
	}
	if c.ends != nil && c.ends(query) && c.Guard.RefuseEnding() {
		return c.Guard.Refused()
	}
	if c.mark != nil {
		c.Guard.note(c.mark(query))
	}
	return nil
}

// allowArgs refuses a handler's arguments.
func (c *Conn) allowArgs(args []sqldriver.NamedValue) error {
	if c.checkArgs == nil || !c.Guard.Watches() {
		return nil
	}
	if why := c.checkArgs(args); why != "" {
		c.Guard.Refuse(why)
		return c.Guard.Refused()
	}
	return nil
}

// Allow refuses what a handler must not run, or notes what it leaves, before it is
// run.
func (c *Conn) Allow(query string, args []sqldriver.NamedValue) error {
	return cmp.Or(c.allow(query), c.allowArgs(args))
}

// ExecContext runs a statement.
func (c *Conn) ExecContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (res sqldriver.Result, err error) {
	if err := c.Allow(query, args); err != nil {
		return nil, err
	}
	r := c.run(ctx)
	defer func() { err = r.end(err) }() // also where a value of the handler's panics
	return c.Raw.ExecContext(r.driver, query, args)
}

// QueryContext runs a query.
func (c *Conn) QueryContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (sqldriver.Rows, error) {
	if err := c.Allow(query, args); err != nil {
		return nil, err
	}
	return c.lend(ctx, func(ctx context.Context) (sqldriver.Rows, error) {
		return c.Raw.QueryContext(ctx, query, args)
	})
}

// PrepareContext prepares a statement.
func (c *Conn) PrepareContext(ctx context.Context, query string) (sqldriver.Stmt, error) {
	if err := c.allow(query); err != nil {
		return nil, err
	}
	prepared, err := c.Raw.PrepareContext(ctx, query)
	if err != nil {
		return nil, hide(err)
	}
	raw, ok := prepared.(rawStmt)
	if !ok {
		return nil, errors.Join(errNoInterface, prepared.Close())
	}
	s := &stmt{rawStmt: raw, conn: c}
	if c.Guard.Watches() && ctx.Value(keepKey{}) == nil {
		c.stmts[s] = true
	}
	return s, nil
}

// keepKey is the context key of Keep.
type keepKey struct{}

// Keep makes a statement that is prepared with this context outlive its
// handler: whoever prepares it closes it.
func Keep(ctx context.Context) context.Context { return context.WithValue(ctx, keepKey{}, true) }

// BeginTx begins a transaction, which a handler cannot end.
func (c *Conn) BeginTx(ctx context.Context, o sqldriver.TxOptions) (sqldriver.Tx, error) {
	raw, err := c.Raw.BeginTx(ctx, o)
	if err != nil {
		return nil, hide(err)
	}
	return tx{Tx: raw, conn: c}, nil
}

// Ping asks whether the server is there.
func (c *Conn) Ping(ctx context.Context) error { return hide(c.Raw.Ping(ctx)) }

// CheckNamedValue is the driver's own, if it has one.
func (c *Conn) CheckNamedValue(v *sqldriver.NamedValue) error {
	if checker, ok := c.Raw.(sqldriver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return sqldriver.ErrSkip
}

// Sweep closes what the handler left open: rows first, then statements.
func (c *Conn) Sweep() {
	for r := range c.rows {
		_ = r.end() // its error is the handler's, who did not want it
	}
	for s := range c.stmts {
		_ = s.Close()
	}
}

// Kill closes the connection beneath database/sql, and reports whether
// database/sql believes that some of its rows are still open.
func (c *Conn) Kill() (lent bool) {
	c.Sweep()
	c.dead = true
	c.cuts.close()
	_ = c.Raw.Close() // it is given up, whatever this says
	return c.lent > 0
}

// Close closes the connection, unless it was killed.
func (c *Conn) Close() error {
	if c.dead {
		return nil
	}
	c.cuts.close()
	return c.Raw.Close()
}

// IsValid keeps a killed connection out of the pool.
func (c *Conn) IsValid() bool {
	v, ok := c.Raw.(sqldriver.Validator)
	return !c.dead && (!ok || v.IsValid())
}

// tx is a transaction on a Conn.
type tx struct {
	sqldriver.Tx
	conn *Conn
}

// Commit is refused to a handler.
func (t tx) Commit() error {
	if err := t.refuse("commit"); err != nil {
		return err
	}
	return hide(t.Tx.Commit())
}

// Rollback is refused to a handler.
func (t tx) Rollback() error {
	if err := t.refuse("rollback"); err != nil {
		return err
	}
	return hide(t.Tx.Rollback())
}

func (t tx) refuse(what string) error {
	if !t.conn.Guard.Watches() {
		return nil
	}
	t.conn.Guard.Refuse(what + " would end the handler's transaction")
	return t.conn.Guard.Refused()
}

// A stmt is a prepared statement on a Conn.
type stmt struct {
	rawStmt
	conn   *Conn
	closed bool
}

// ExecContext runs it.
func (s *stmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (res sqldriver.Result, err error) {
	if s.closed {
		return nil, driver.ErrTxDone
	}
	if err := cmp.Or(s.conn.stands(), s.conn.allowArgs(args)); err != nil {
		return nil, err
	}
	r := s.conn.run(ctx)
	defer func() { err = r.end(err) }() // also where a value of the handler's panics
	return s.rawStmt.ExecContext(r.driver, args)
}

// QueryContext runs it.
func (s *stmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if s.closed {
		return nil, driver.ErrTxDone
	}
	if err := cmp.Or(s.conn.stands(), s.conn.allowArgs(args)); err != nil {
		return nil, err
	}
	return s.conn.lend(ctx, func(ctx context.Context) (sqldriver.Rows, error) {
		return s.rawStmt.QueryContext(ctx, args)
	})
}

// CheckNamedValue is the driver's own, if it has one.
func (s *stmt) CheckNamedValue(v *sqldriver.NamedValue) error {
	if checker, ok := s.rawStmt.(sqldriver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

// Close frees it, once.
func (s *stmt) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	delete(s.conn.stmts, s)
	return s.rawStmt.Close()
}
