package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// The errors that take part of a transaction back, and leave the handler to
// believe that it stands:
// https://dev.mysql.com/doc/refman/8.4/en/innodb-error-handling.html.
const (
	lockTimeout = 1205 // undoes the statement
	deadlock    = 1213 // undoes the whole transaction
)

// classes are the classes of errors by number:
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html,
// https://mariadb.com/kb/en/mariadb-error-code-reference/.
func classes() map[uint16]driver.Class {
	return map[uint16]driver.Class{
		1021: driver.ClassTransient, // disk full
		1030: driver.ClassTransient, // error from the storage engine
		1037: driver.ClassTransient, // out of memory
		1041: driver.ClassTransient, // out of resources
		1114: driver.ClassTransient, // table is full: so is the disk
		1180: driver.ClassTransient, // error during commit
		1203: driver.ClassTransient, // too many connections of the user
		1206: driver.ClassTransient, // too many locks
		1412: driver.ClassTransient, // table definition has changed
		1615: driver.ClassTransient, // prepared statement needs to be prepared again
		3572: driver.ClassTransient, // row is locked, with nowait

		lockTimeout: driver.ClassTransient,
		deadlock:    driver.ClassTransient,

		1062: store.ClassUnique,
		1586: store.ClassUnique, // with the name of the key

		1146: store.ClassNoTable, // no such table
		1054: store.ClassNoTable, // no such column
		1046: store.ClassNoTable, // no database chosen
		1049: store.ClassNoTable, // no such database
	}
}

// endings are the errors after which a connection must not be used again, all
// of them transient; the same sources.
func endings() map[uint16]bool {
	return map[uint16]bool{
		1040: true, // too many connections
		1053: true, // shutdown
		1077: true, // normal shutdown
		1079: true, // shutdown is complete
		1080: true, // closing of a connection was forced
		1129: true, // host is blocked
		1152: true, // connection was aborted
		1153: true, // packet was too large: the server hangs up
		1158: true, // network: cannot read
		1159: true, // network: read timed out
		1160: true, // network: cannot write
		1161: true, // network: write timed out
		1184: true, // connection was aborted
		1290: true, // --read-only or --super-read-only: a demoted server
		1792: true, // read-only transaction
		1836: true, // read-only mode
		1927: true, // MariaDB: connection was killed
		3169: true, // MySQL: session was killed
		3170: true, // MySQL: memory limit of a session
		4031: true, // MySQL: disconnected for being idle
	}
}

// number is the server's number of an error, or 0.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// classify maps an error of the server or the way to it to its class; empty
// means that it is the statement's own fault.
func classify(err error) driver.Class {
	switch n := number(err); {
	case n != 0 && endings()[n]:
		return driver.ClassTransient
	case n != 0:
		return classes()[n]
	case lost(err):
		return driver.ClassTransient
	}
	return ""
}

// lost reports whether the connection that gave err is gone or useless.
func lost(err error) bool {
	if n := number(err); n != 0 {
		return endings()[n]
	}
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, gone := range []error{
		sqldriver.ErrBadConn, sql.ErrConnDone, guard.ErrLost, mysql.ErrInvalidConn, mysql.ErrMalformPkt, mysql.ErrPktSync,
		mysql.ErrPktSyncMul, io.EOF, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	var n net.Error
	return errors.As(err, &n)
}

// explainOpen gives errors of opening their meaning.
func explainOpen(err error) error {
	switch number(err) {
	case 1193, 1228, 1229, 1231, 1232, 1238: // a variable is unknown or global, or its value is wrong
		return fmt.Errorf("%w: %w", store.ErrSession, err)
	}
	if err != nil && (classify(err) == driver.ClassTransient || errors.Is(err, errReadOnly)) {
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return err
}

// named reports whether an error says that it is of this database, and not of
// some other connection of a handler.
func named(err error) bool {
	return number(err) != 0 || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, guard.ErrLost) || errors.Is(err, mysql.ErrInvalidConn)
}
