package posthorn

import (
	"context"
	"database/sql"
	"fmt"
	"runtime/debug"

	"github.com/posthorn/posthorn/driver"
)

// An Effect is the short part of a handler: it runs in the transaction that
// also acknowledges the message. It must not wait for anything slow. It is run again
// when the transaction fails as a whole, or another message that shared it: what it did
// in the transaction was undone, what it did outside is done twice.
type Effect func(ctx context.Context, tx *Tx) error

// A Tx is a handler's window on its transaction. There is no Commit and no
// Rollback: returning nil commits, returning an error rolls back. Statements
// that would end the transaction, or change the session beyond it, are refused
// with driver.ErrTxRefused. It may be used by several goroutines, but once the
// handler has returned every method fails with driver.ErrTxDone.
type Tx struct {
	tx         driver.Tx
	dispatcher *Dispatcher
}

// ExecContext runs a statement that returns no rows.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, query, args...)
}

// QueryContext runs a statement that returns rows. Rows left open are closed
// when the handler returns.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a statement that returns at most one row.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

// PrepareContext prepares a statement. It is closed when the handler returns.
func (t *Tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return t.tx.PrepareContext(ctx, query)
}

// Queue has a statement that returns no rows run when the handler has returned nil,
// in the order of the calls, in the same transaction. Nobody waits for its answer
// alone: on PostgreSQL the statements of many messages share a round trip with each
// other, which makes a handler that only writes several times faster. What the
// statement fails with is the handler's error. A statement that ExecContext would
// refuse is refused at once. Do not change args afterwards.
func (t *Tx) Queue(ctx context.Context, query string, args ...any) error {
	return t.tx.Queue(ctx, query, args...)
}

// Dispatch sends a message in the same transaction: it exists when the
// transaction has committed, and not otherwise. It returns the message's id.
func (t *Tx) Dispatch(ctx context.Context, msg Message, opts ...DispatchOption) (string, error) {
	env, err := t.dispatcher.seal(msg, opts)
	if err != nil {
		return "", err
	}
	return env.ID, t.dispatcher.send(ctx, t.tx.Send, env)
}

// SQL returns the raw transaction for a handler that was registered with
// WithRawTx, and nil for any other. Its Commit and Rollback are Posthorn's.
func (t *Tx) SQL() *sql.Tx { return t.tx.SQL() }

// Bind ties an effect to the dispatcher of its worker, and turns a panic into
// a *PanicError. Workers call it.
func (e Effect) Bind(d *Dispatcher) func(context.Context, driver.Tx) error {
	return func(ctx context.Context, tx driver.Tx) (err error) {
		defer recoverTo(&err)
		return e(ctx, &Tx{tx: tx, dispatcher: d})
	}
}

// recoverTo turns a panic of the caller into a *PanicError. A runtime.Goexit
// passes unseen.
func recoverTo(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: printable(v), Stack: string(debug.Stack())}
	}
}

// printable keeps a panic's text and drops the value, which may be large or
// shared with other goroutines.
func printable(v any) string { return fmt.Sprint(v) }
