package driver

import (
	"context"
	"database/sql"
	"time"
)

// This file is the one place where the optional roles of a transport are
// declared and looked up; those about workers are described in registry.go. Having
// the methods is the declaration.

// Tx is what a transactional effect may do in the database of the transport.
// It is safe for concurrent use, and every method fails with ErrTxDone once
// the effect has returned. The method set is the one that generated query code
// (sqlc and the like) asks for.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	// Queue runs a statement that returns no rows in the same transaction, after the
	// effect has returned nil, in the order of the calls, and together with those
	// of other units where the store can. What the statement fails with is the
	// unit's outcome; one that is refused is refused at once.
	Queue(ctx context.Context, query string, args ...any) error
	// Send sends in the same transaction.
	Send(ctx context.Context, envs ...Envelope) error
	// SQL returns the raw transaction of a unit that runs alone, else nil.
	SQL() *sql.Tx
}

// A Unit is one acknowledgement and the effect that must commit with it.
type Unit struct {
	Delivery Delivery
	// Alone gives the unit a transaction of its own, with Tx.SQL.
	Alone bool
	// Timeout bounds the effect: its context ends then, and some time later it
	// counts as stuck. Zero means no bound.
	Timeout time.Duration
	// Context is the effect's own context; a unit whose context has ended is
	// not begun.
	Context context.Context //nolint:containedctx // a unit is a call's arguments, not a holder
	// Effect runs after the claim was acknowledged in the transaction. It must
	// not panic.
	Effect func(ctx context.Context, tx Tx) error
}

// Transactor is the role of a transport that can commit an acknowledgement
// together with SQL work.
type Transactor interface {
	// Transact acknowledges each unit and runs its effect, one after the
	// other; many share one commit. The errors stand in the units' order: nil
	// means that acknowledgement and effect are committed; anything else means
	// that neither is. ErrLeaseLost: the claim was lost and the effect was not
	// run; *StuckError: see there; else what the effect returned, a
	// *QueuedError, or the store's own error. An effect may be started again when
	// another one failed or ended the shared transaction.
	Transact(ctx context.Context, units []Unit) []error
	// SendTx sends inside the caller's own transaction on the same database.
	SendTx(ctx context.Context, tx *sql.Tx, envs ...Envelope) error
}

// Classifier is the role of a transport that knows the errors of its client
// library.
type Classifier interface {
	// Classify returns ClassTransient for a fault of the store or of the way
	// to it, and an empty class for anything else.
	Classify(err error) Class
}

// Diagnoser is the role of a transport that can say what an error of its
// database is about, finer than its class, for people who read logs.
type Diagnoser interface {
	// Fault returns a name such as deadlock, unique or connection_lost, and an
	// empty one for an error that is not the database's, or has no name.
	Fault(err error) string
}

// Maintainer is the role of a transport that has housekeeping to do.
type Maintainer interface {
	// Maintain removes dead letters older than retention, and the rows of
	// workers that have long been silent. It is cheap when there is nothing to do.
	Maintain(ctx context.Context, retention time.Duration) error
}

// Roles are the optional roles that a transport has; a nil field is a role
// that it lacks.
type Roles struct {
	Transactor Transactor
	Classifier Classifier
	Diagnoser  Diagnoser
	Registry   Registry
	Maintainer Maintainer
	Reaper     Reaper
}

// RolesOf looks up what a transport can do beyond the contract.
func RolesOf(t Transport) Roles {
	var r Roles
	r.Transactor, _ = t.(Transactor)
	r.Classifier, _ = t.(Classifier)
	r.Diagnoser, _ = t.(Diagnoser)
	r.Registry, _ = t.(Registry)
	r.Maintainer, _ = t.(Maintainer)
	r.Reaper, _ = t.(Reaper)
	return r
}
