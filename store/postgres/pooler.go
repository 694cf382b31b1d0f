package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/pool"
)

// protocolViolation is what PgBouncer says to parameters that it does not know.
const protocolViolation = "08P01"

// settlePooler finds out whether a pooler is in between that lends the server's
// sessions, and makes the address fit for it. A pooler cannot know the number
// of the process that will serve a connection, so it tells another one than the
// server does.
//
// Behind one, a connection has no session of its own: a statement prepared in
// one transaction is missing in the next, so none is prepared, and settings
// belong to the role.
func (a *address) settlePooler(ctx context.Context, settings int) error {
	config := a.config.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, config)
	var pg *pgconn.PgError
	if settings > 0 && errors.As(err, &pg) && pg.Code == protocolViolation {
		return fmt.Errorf("%w: %w", errPooledSession, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if a.pooled, err = lent(ctx, conn); err != nil || !a.pooled {
		return err
	}
	if settings > 0 {
		return errPooledSession
	}
	a.config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return nil
}

// lent reports whether a pooler lends a connection its session.
func lent(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var served uint32
	err := conn.QueryRow(ctx, "select pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&served)
	return served != conn.PgConn().PID(), err
}

// errPooledSession: session settings and a pooler do not go together.
var errPooledSession = fmt.Errorf("%w: a pooler lends sessions of the server and does not pass all settings on; "+
	"set them on the role (alter role … set …), or name the server itself in the address", store.ErrSession)

// What handlers may leave in a session, undone in the transaction that is about
// to be committed, and after one that is rolled back: closing a connection to a
// pooler does not end the server's session, and another one gets it next. A
// rollback undoes settings by itself, but neither locks nor prepared statements.
// Each text is one message, so that the pooler cannot lend the session in between.
const (
	wipe = `reset session authorization; reset role; reset all; close all; unlisten *;
		select pg_catalog.pg_advisory_unlock_all(); discard temp; deallocate all`
	rollbackAndWipe = `rollback; select pg_catalog.pg_advisory_unlock_all(); deallocate all`
)

// forPooler adds what a pooler needs to a dialect.
func (a address) forPooler(d pool.Dialect) pool.Dialect {
	if a.pooled {
		d.Wipe = wiper
	}
	return d
}

// control is the configuration of the connections on which nothing but Posthorn's
// own statements run. Each has an index made for it, and the table shrinks and
// grows faster than its statistics: a plan that was made while it was small must not
// read all of it later. What is off costs ten billion to the planner, so that it
// would compile the one plan for a statement that has to read all, which takes far
// longer than to read: that is off, too. A pooler takes no settings; there the
// planner is trusted.
func (a address) control() pgx.ConnConfig {
	config := a.config.Copy()
	if !a.pooled {
		config.RuntimeParams["enable_seqscan"] = "off"
		config.RuntimeParams["enable_bitmapscan"] = "off"
		config.RuntimeParams["enable_hashjoin"] = "off"
		config.RuntimeParams["enable_mergejoin"] = "off"
		config.RuntimeParams["jit"] = "off"
	}
	return *config
}

// wiper is pool.Dialect.Wipe.
func wiper(ctx context.Context, conn *sql.Conn, rollback bool) error {
	text := wipe
	if rollback {
		text = rollbackAndWipe
	}
	return native(conn, func(c *pgx.Conn) error {
		_, err := c.PgConn().Exec(ctx, text).ReadAll()
		return err
	})
}
