package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store/guard"
)

// What the driver lacks, or a handler does wrong.
var (
	errNoInterface = errors.New("connection is not one of go-sql-driver")
	errRowsOpen    = errors.New("rows of an earlier query are still open, and a connection reads one result at a time")
)

// rawConn is what the driver's connections can do.
type rawConn interface {
	guard.Raw
	sqldriver.NamedValueChecker
	sqldriver.Validator
}

// rawStmt is what the driver's prepared statements can do.
type rawStmt interface {
	sqldriver.Stmt
	sqldriver.StmtExecContext
	sqldriver.StmtQueryContext
	sqldriver.NamedValueChecker
}

// rawRows are what the driver's rows can do.
type rawRows interface {
	sqldriver.RowsNextResultSet
	sqldriver.RowsColumnTypeScanType
	sqldriver.RowsColumnTypeDatabaseTypeName
	sqldriver.RowsColumnTypeNullable
	sqldriver.RowsColumnTypePrecisionScale
}

// A watched connection runs effects. It remembers how its session was when it
// was opened, and an error after which the server keeps less of a transaction
// than a handler may believe: nothing but a rollback is let through then.
type watched struct {
	rawConn
	look   string
	opened map[string]string
	doom   error
	open   int  // results that have not been read to their end
	called bool // a call was run, and nobody has asked what it has done
}

// A watcher opens watched connections.
type watcher struct {
	sqldriver.Connector
	look string
}

// Connect opens one.
func (w watcher) Connect(ctx context.Context) (sqldriver.Conn, error) {
	c, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, ok := c.(rawConn)
	if !ok {
		return nil, errors.Join(errNoInterface, c.Close())
	}
	out := &watched{rawConn: raw, look: w.look}
	if out.opened, err = out.state(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return out, nil
}

// usable says why no statement can run now.
func (w *watched) usable() error {
	if w.doom == nil && w.open > 0 {
		return errRowsOpen
	}
	if w.called {
		w.judge()
	}
	return w.doom
}

// note remembers an error that dooms the transaction.
func (w *watched) note(err error) error {
	switch number(err) {
	case lockTimeout, deadlock:
		w.doom = err
	case inXA: // of a trial, see store.Trial
		w.doom = fmt.Errorf("%w: %w", driver.ErrTxEnded, err)
	}
	return err
}

// ExecContext runs a statement. A handler's rollback never comes this far.
func (w *watched) ExecContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (sqldriver.Result, error) {
	if query == "rollback" {
		w.doom, w.called = nil, false
		return w.rawConn.ExecContext(ctx, query, args)
	}
	if err := w.usable(); err != nil {
		return nil, err
	}
	if err := w.calling(ctx, isCall(query)); err != nil {
		return nil, err
	}
	res, err := w.rawConn.ExecContext(ctx, query, args)
	return res, w.note(err)
}

// QueryContext runs a query.
func (w *watched) QueryContext(
	ctx context.Context, query string, args []sqldriver.NamedValue,
) (sqldriver.Rows, error) {
	return w.lend(ctx, func(ctx context.Context) (sqldriver.Rows, error) {
		if err := w.calling(ctx, isCall(query)); err != nil {
			return nil, err
		}
		return w.rawConn.QueryContext(ctx, query, args)
	})
}

// PrepareContext prepares a statement.
func (w *watched) PrepareContext(ctx context.Context, query string) (sqldriver.Stmt, error) {
	if err := w.usable(); err != nil {
		return nil, err
	}
	s, err := w.rawConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	raw, ok := s.(rawStmt)
	if !ok {
		return nil, errors.Join(errNoInterface, s.Close())
	}
	return stmt{raw, w, isCall(query)}, nil
}

// BeginTx begins a transaction.
func (w *watched) BeginTx(ctx context.Context, o sqldriver.TxOptions) (sqldriver.Tx, error) {
	if err := w.usable(); err != nil {
		return nil, err
	}
	raw, err := w.rawConn.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	return tx{raw, w}, nil
}

// lend runs a query. Whose context ends while its rows are open would lose the
// driver's connection, and the effects of others with it: the rows get a moment
// to be closed.
func (w *watched) lend(
	ctx context.Context, run func(context.Context) (sqldriver.Rows, error),
) (sqldriver.Rows, error) {
	if err := w.usable(); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	found, err := run(own)
	stop()
	if err != nil {
		cancel()
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = ctx.Err()
		}
		return nil, w.note(err)
	}
	raw, ok := found.(rawRows)
	if !ok {
		cancel()
		return nil, errors.Join(errNoInterface, found.Close())
	}
	w.open++
	stop = context.AfterFunc(ctx, func() { time.AfterFunc(closeWithin, cancel) })
	return &rows{rawRows: raw, conn: w, cancel: func() { stop(); cancel() }}, nil
}

// closeWithin bounds the reading of rows that nobody wants. It takes no longer
// to open another connection.
const closeWithin = 500 * time.Millisecond

// rows are a result on a watched connection.
type rows struct {
	rawRows
	conn   *watched
	cancel context.CancelFunc
	ended  bool // all rows of this result were read
	closed bool
}

// Next reads a row.
func (r *rows) Next(dest []sqldriver.Value) error {
	err := r.rawRows.Next(dest)
	r.ended = err != nil
	if err == io.EOF { //nolint:errorlint // the contract of database/sql/driver
		return err
	}
	return r.conn.note(err)
}

// NextResultSet goes on to the next result of a procedure.
func (r *rows) NextResultSet() error {
	r.ended = false
	return r.rawRows.NextResultSet()
}

// Close reads what is left, since the next answer comes after it. Where that
// takes too long the connection is given up.
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.conn.open--
	late := time.AfterFunc(closeWithin, r.cancel)
	defer late.Stop()
	for row := make([]sqldriver.Value, len(r.Columns())); !r.ended; {
		r.ended = r.rawRows.Next(row) != nil
	}
	err := r.rawRows.Close()
	r.cancel()
	return err
}

// A stmt is a prepared statement on a watched connection.
type stmt struct {
	rawStmt
	conn *watched
	call bool
}

// ExecContext runs it.
func (s stmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if err := s.conn.usable(); err != nil {
		return nil, err
	}
	if err := s.conn.calling(ctx, s.call); err != nil {
		return nil, err
	}
	res, err := s.rawStmt.ExecContext(ctx, args)
	return res, s.conn.note(err)
}

// QueryContext runs it.
func (s stmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	return s.conn.lend(ctx, func(ctx context.Context) (sqldriver.Rows, error) {
		if err := s.conn.calling(ctx, s.call); err != nil {
			return nil, err
		}
		return s.rawStmt.QueryContext(ctx, args)
	})
}

// tx is a transaction on a watched connection.
type tx struct {
	sqldriver.Tx
	conn *watched
}

// Commit commits what is whole.
func (t tx) Commit() error {
	if err := t.conn.usable(); err != nil {
		return err
	}
	return t.Tx.Commit()
}

// Rollback ends it.
func (t tx) Rollback() error {
	t.conn.doom, t.conn.called = nil, false
	return t.Tx.Rollback()
}
