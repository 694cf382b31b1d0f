package postgres

import (
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

// classes are the classes of errors by SQLSTATE, or by its first two digits:
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func classes() map[string]driver.Class {
	return map[string]driver.Class{
		"08":    driver.ClassTransient, // connection exceptions
		"53":    driver.ClassTransient, // insufficient resources: too many connections, disk full, out of memory
		"57P01": driver.ClassTransient, // admin shutdown
		"57P02": driver.ClassTransient, // crash shutdown
		"57P03": driver.ClassTransient, // cannot connect now
		"57P05": driver.ClassTransient, // idle session timeout
		"25P03": driver.ClassTransient, // idle in transaction session timeout
		"25006": driver.ClassTransient, // read-only transaction: a demoted server
		"40001": driver.ClassTransient, // serialization failure
		"40P01": driver.ClassTransient, // deadlock detected
		"55P03": driver.ClassTransient, // lock not available
		"58":    driver.ClassTransient, // system error
		"XX":    driver.ClassTransient, // internal error, corruption
		"23505": store.ClassUnique,
		"42P01": store.ClassNoTable, // undefined table
		"42703": store.ClassNoTable, // undefined column
		"3F000": store.ClassNoTable, // undefined schema
	}
}

// classify maps an error of the server or the way to it to its class; empty
// means that it is the statement's own fault.
func classify(err error) driver.Class {
	var (
		pg  *pgconn.PgError
		net net.Error
		con *pgconn.ConnectError
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.As(err, &pg):
		table := classes()
		if c, ok := table[pg.Code]; ok {
			return c
		}
		return table[pg.Code[:2]]
	case errors.As(err, &con), errors.As(err, &net),
		errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, guard.ErrLost),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), pgconn.SafeToRetry(err):
		return driver.ClassTransient
	}
	return ""
}

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
