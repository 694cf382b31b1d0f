package postgres

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// faults are the faults by SQLSTATE, or by its first two digits:
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
//
// 53400 is not of its class: a statement meets it whose temporary files are larger
// than temp_file_limit, which is a limit of each session by itself, so that it
// would be met again; the other cases are slots and workers of replication:
// https://www.postgresql.org/docs/current/runtime-config-resource.html#GUC-TEMP-FILE-LIMIT.
func faults() map[string]store.Fault {
	return map[string]store.Fault{
		"08":    store.FaultConnectionLost,
		"22":    store.FaultValue,
		"22001": store.FaultTooLong,
		"22003": store.FaultOutOfRange,
		"23":    store.FaultConstraint,
		"23502": store.FaultNotNull,
		"23505": store.FaultUnique,
		"25006": store.FaultReadOnly, // a read-only transaction: a demoted server
		"25P02": store.FaultAborted,
		"25P03": store.FaultIdleTimeout, // inside a transaction
		"28":    store.FaultPermission,  // to connect
		"3F000": store.FaultNoTable,     // no such schema
		"40001": store.FaultSerialization,
		"40P01": store.FaultDeadlock,
		"42":    store.FaultSyntax, // with wrong names and types
		"42501": store.FaultPermission,
		"42703": store.FaultNoTable, // no such column
		"42P01": store.FaultNoTable,
		"53":    store.FaultResources,
		"53100": store.FaultDiskFull,
		"53300": store.FaultTooManyConnections,
		"53400": store.FaultLimit,
		"55P03": store.FaultLockTimeout,
		"57014": store.FaultStatementTimeout,
		"57P01": store.FaultShutdown, // or pg_terminate_backend
		"57P02": store.FaultShutdown, // another process of the server has crashed
		"57P03": store.FaultShutdown, // cannot connect now
		"57P05": store.FaultIdleTimeout,
		"58":    store.FaultStorage, // the system around the server
		"XX":    store.FaultStorage, // internal errors, corruption
	}
}

// Fault names what an error of the server or the way to it is about; see
// [store.Fault].
func Fault(err error) store.Fault {
	var (
		pg  *pgconn.PgError
		net net.Error
		con *pgconn.ConnectError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.As(err, &pg):
		table := faults()
		return cmp.Or(table[pg.Code], table[pg.Code[:min(2, len(pg.Code))]])
	case errors.As(err, &con), errors.As(err, &net),
		errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, guard.ErrLost),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), pgconn.SafeToRetry(err):
		return store.FaultConnectionLost
	}
	return ""
}

// classify maps an error of the server or the way to it to its class; empty
// means that it is the statement's own fault.
func classify(err error) driver.Class { return Fault(err).Class() }

// named reports whether an error says that it is of this database, and not of
// some other connection of a handler.
func named(err error) bool {
	var (
		pg  *pgconn.PgError
		con *pgconn.ConnectError
	)
	return errors.As(err, &pg) || errors.As(err, &con) ||
		errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, guard.ErrLost)
}
