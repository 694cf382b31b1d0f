package store

import (
	"context"
	"database/sql"
)

// An Engine is a dialect's way to the database: how transactions are begun,
// shared and committed, and how changes by others become known. All methods
// may be called concurrently.
type Engine interface {
	// Write writes in a short transaction of Posthorn's own. Several calls may
	// share one commit.
	Write(ctx context.Context, w *Write) error
	// Read runs fn on a connection that writes nothing.
	Read(ctx context.Context, fn func(context.Context, Session) error) error
	// Exclusive lends a connection for a group of effects. A connection that fn
	// left dirty is destroyed.
	Exclusive(ctx context.Context, fn func(context.Context, Conn) error) error
	// OnChange sets what is called when the database may have changed, by this
	// process or another. It is a hint, set once before first use, which nobody heeds
	// while none is expected.
	OnChange(fn func(), expected *Expectation)
	// Close ends everything and waits for it.
	Close() error
}

// A Session runs statements in one transaction, or outside any for Read.
type Session interface {
	// Now is the store's clock in milliseconds since 1970.
	Now(ctx context.Context) (int64, error)
	// Exec runs a statement and returns the number of rows it touched.
	Exec(ctx context.Context, stmt string, args ...any) (int64, error)
	// ExecMany runs a statement once for each row of arguments, in order, in as
	// few round trips as the database can, and returns the rows touched by each.
	ExecMany(ctx context.Context, stmt string, rows [][]any) ([]int64, error)
	// Do writes all but the functions of some writes, in as few statements and
	// round trips as the database can.
	Do(ctx context.Context, ws ...*Write) error
	// Query hands each row to scan.
	Query(ctx context.Context, stmt string, args []any, scan func(Row) error) error
}

// A Row is one row of a result.
type Row interface{ Scan(dest ...any) error }

// A Conn is a connection lent for a group of effects.
type Conn interface {
	Session
	// Begin opens the group's transaction. With raw it returns it, too.
	Begin(ctx context.Context, raw bool) (*sql.Tx, error)
	// Commit commits it.
	Commit(ctx context.Context) error
	// Rollback ends it, if it still stands. Afterwards none is open.
	Rollback(ctx context.Context)
	// Whole reports whether the open transaction still stands and a commit would
	// keep it, as far as can be told without asking the server.
	Whole() bool
	// User is the connection for the statements of a handler.
	User() UserConn
	// Inspect says what handlers have left in the session since Begin; empty
	// means nothing. While the transaction is open, that may end with it. What
	// is found after its end makes the connection dirty: it will not be used
	// again. A connection whose Leave tells finds nothing more.
	Inspect(ctx context.Context) (left string)
}

// A UserConn runs a handler's own statements under the session guard.
type UserConn interface {
	// Enter turns the guard on for a handler, whose statements end with life.
	// Leave closes what the handler left open, turns the guard off, and says
	// what the handler did to the session that outlives its transaction; empty
	// means nothing. The connection will not be used again then. Together with others
	// that were settled and have not run yet, a handler is refused what may end the
	// transaction without saying so.
	Enter(life context.Context, together bool)
	Leave() (dirty string)
	// MayEnd reports whether the handler has run, or was refused, what may end the
	// transaction without saying so.
	MayEnd() bool
	// Refused is what the guard refused last since Enter, as
	// driver.ErrTxRefused, or nil: a handler cannot swallow it.
	Refused() error
	// Own runs fn, a statement of Posthorn's own, outside the guard.
	Own(fn func() error) error
	// Allow refuses what the guard would refuse when it is run, as far as the text
	// tells, and notes what the statement will leave.
	Allow(query string, args []any) error
	// Run runs a handler's statement that returns no rows; it may keep it
	// prepared for the next one.
	Run(ctx context.Context, query string, args ...any) (sql.Result, error)
	// Conn runs the statements. Explain turns the guard's refusals into
	// driver.ErrTxRefused.
	Conn() *sql.Conn
	Explain(err error) error
}
