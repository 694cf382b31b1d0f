package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
)

// A unitTx is the driver.Tx of one unit. Its mutex makes sure that no
// statement of the handler is under way when the transaction goes on to the
// next unit.
type unitTx struct {
	store *Store
	conn  Conn
	user  UserConn
	raw   *sql.Tx
	life  inhand.Context // the handler's own; it ends when the handler has returned, too

	effect  func(context.Context, driver.Tx) error
	flushes bool // what it queues is run at its end, and not with what others queue

	mu     sync.Mutex
	dead   bool
	stmts  []*sql.Stmt
	queued []Queued
}

func newUnitTx(s *Store, c Conn, raw *sql.Tx) *unitTx {
	return &unitTx{store: s, conn: c, user: c.User(), raw: raw}
}

// call runs the effect. It may go on when nobody waits for it any more.
func (t *unitTx) call() error {
	if err := t.effect(&t.life, t); err != nil || !t.flushes {
		return err
	}
	return t.flush()
}

// enter begins a statement: the caller holds the mutex afterwards, and calls
// done. The statement's context ends with the handler's, whatever context the
// handler passes.
func (t *unitTx) enter(ctx context.Context) (context.Context, func(), error) {
	t.mu.Lock()
	if t.dead {
		t.mu.Unlock()
		return nil, nil, driver.ErrTxDone
	}
	if err := inhand.Cause(&t.life); err != nil {
		t.mu.Unlock()
		return nil, nil, err
	}
	if t.within(ctx) {
		return &t.life, t.mu.Unlock, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(&t.life, func() { cancel(context.Cause(&t.life)) })
	return ctx, func() { stop(); cancel(nil); t.mu.Unlock() }, nil
}

// within reports whether ctx ends only when the handler's own context does.
func (t *unitTx) within(ctx context.Context) bool {
	return ctx == &t.life || ctx.Done() == nil || ctx.Done() == t.life.Done()
}

// ExecContext runs a statement.
func (t *unitTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, done, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	res, err := t.user.Run(ctx, query, args...)
	return res, t.user.Explain(err)
}

// QueryContext runs a query. Its rows live until the handler returns.
func (t *unitTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	_, done, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := t.user.Conn().QueryContext(t.rowsContext(ctx), query, args...)
	if err != nil {
		return nil, t.user.Explain(err)
	}
	return rows, nil
}

// rowsContext is a context for rows, which outlive the call: it ends with the
// handler's, whatever context the handler passes.
func (t *unitTx) rowsContext(ctx context.Context) context.Context {
	if t.within(ctx) {
		return &t.life
	}
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(&t.life, func() { cancel(context.Cause(&t.life)) })
	return ctx
}

// QueryRowContext runs a query for one row. A row that is never scanned is
// given up when the handler returns.
func (t *unitTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	_, done, err := t.enter(ctx)
	if err != nil {
		return t.failedRow(ctx, err)
	}
	defer done()
	row := t.user.Conn().QueryRowContext(t.rowsContext(ctx), query, args...)
	if err := t.user.Explain(row.Err()); errors.Is(err, driver.ErrTxRefused) {
		return t.failedRow(ctx, err)
	}
	return row
}

// failedRow makes a *sql.Row that carries err: the query is not sent when its
// context has ended.
func (t *unitTx) failedRow(ctx context.Context, err error) *sql.Row {
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(err)
	return t.store.DB().QueryRowContext(rowError{ctx, err}, "select 1")
}

// rowError is an ended context whose Err says why a row cannot be had.
type rowError struct {
	context.Context //nolint:containedctx // it is a context
	err             error
}

// Err is the reason.
func (e rowError) Err() error { return e.err }

// PrepareContext prepares a statement, closed when the handler returns.
func (t *unitTx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	ctx, done, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	stmt, err := t.user.Conn().PrepareContext(ctx, query)
	if err != nil {
		return nil, t.user.Explain(err)
	}
	t.stmts = append(t.stmts, stmt)
	return stmt, nil
}

// Queue keeps a statement until the effect has returned.
func (t *unitTx) Queue(ctx context.Context, query string, args ...any) error {
	_, done, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := t.user.Allow(query, args); err != nil {
		return t.user.Explain(err)
	}
	t.queued = append(t.queued, Queued{query, args})
	return nil
}

// flush runs what was queued, as the handler would. Where the unit's time ended
// meanwhile, the error says why, as that of a handler does: to be cut off by a
// shutdown or a lost lease is no failure.
func (t *unitTx) flush() error {
	t.mu.Lock()
	queued := t.queued
	t.queued = nil
	t.mu.Unlock()
	for _, q := range queued {
		if _, err := t.ExecContext(&t.life, q.Query, q.Args...); err != nil {
			if cause := context.Cause(&t.life); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			return &driver.QueuedError{Err: err}
		}
	}
	return nil
}

// Send sends in the unit's transaction.
func (t *unitTx) Send(ctx context.Context, envs ...driver.Envelope) error {
	if err := t.store.checkSend(envs); err != nil {
		return err
	}
	ms, err := messages(envs)
	if err != nil {
		return fmt.Errorf("send in transaction: %w", err)
	}
	_, done, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	return t.store.explain("send in transaction", t.user.Own(func() error {
		return t.conn.Do(context.WithoutCancel(ctx), &Write{Send: ms})
	}))
}

// SQL returns the raw transaction of a unit that runs alone.
func (t *unitTx) SQL() *sql.Tx { return t.raw }

// end makes the transaction unusable for the handler, ends a statement of a
// goroutine that outlived it, and closes what the handler left open. It says
// what outlives the transaction.
func (t *unitTx) end() (dirty string) {
	t.life.End(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dead = true
	dirty = t.user.Leave()
	for _, s := range t.stmts {
		_ = s.Close()
	}
	return dirty
}
