package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

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
	inXA        = 1399 // XAER_RMFAIL: not in an XA transaction
)

// faults are the faults by number:
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html,
// https://mariadb.com/kb/en/mariadb-error-code-reference/.
//
// 1226 names one of four limits of an account: connections at a time, and
// connections, statements and updates an hour. The first is the one that is met;
// each ends by itself, and no message is to blame:
// https://dev.mysql.com/doc/refman/8.4/en/user-resources.html.
//
// 1290 names an option of the server that forbids a statement. --read-only and
// --super-read-only forbid all writes of a demoted server, until clients find the
// new one: https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_read_only.
// Others forbid only what no handler needs, such as files beside --secure-file-priv;
// the number does not tell them apart.
func faults() map[store.Fault][]uint16 {
	return map[store.Fault][]uint16{
		store.FaultDeadlock:           {deadlock},
		store.FaultLockTimeout:        {lockTimeout, 3572}, // MySQL: row is locked, with nowait
		store.FaultSerialization:      {1020},              // MariaDB: row has changed, under innodb_snapshot_isolation
		store.FaultReadOnly:           {1290, 1792, 1836},  // --read-only; transaction; mode
		store.FaultTooManyConnections: {1040, 1203, 1226},  // of all; of the user
		store.FaultShutdown:           {1053, 1077, 1079},
		store.FaultConnectionLost: {
			1080, 1129, // closing was forced; host is blocked
			1152, 1153, 1184, // aborted; packet was too large: the server hangs up; aborted
			1158, 1159, 1160, 1161, // cannot read, read timed out, cannot write, write timed out
			1927, 3169, 3170, // killed: MariaDB, MySQL, MySQL at its memory limit
		},
		store.FaultIdleTimeout: {4031},             // MySQL tells; MariaDB just hangs up
		store.FaultDiskFull:    {1021, 1114},       // table is full: so is the disk
		store.FaultStorage:     {1030, 1180},       // of the storage engine; during commit
		store.FaultResources:   {1037, 1041, 1206}, // memory; too many locks
		store.FaultChanged:     {1412, 1615},       // table definition; prepared statement needs to be prepared again

		store.FaultUnique:  {1062, 1586},             // the second with the name of the key
		store.FaultNoTable: {1146, 1054, 1046, 1049}, // table, column, no database chosen, no such database

		store.FaultSyntax:     {1064, 1149, 1305},
		store.FaultTooLong:    {1406, 1265, 1301}, // column; would be cut; result is larger than a packet
		store.FaultOutOfRange: {1264, 1690},
		store.FaultValue:      {1366, 1292, 1365},       // for the column; for the type; division by zero
		store.FaultNotNull:    {1048, 1364},             // null; no default
		store.FaultConstraint: {1451, 1452, 3819, 4025}, // foreign keys; checks of MySQL and MariaDB
		store.FaultPermission: {
			1044, 1045, 1142, 1143, 1227, 1370, // database, login, table, column, privilege, routine
		},
		store.FaultStatementTimeout: {1317, 1969, 3024}, // interrupted; time limits of MariaDB and MySQL
	}
}

// endings are the faults after which a connection must not be used again.
func endings() []store.Fault {
	return []store.Fault{
		store.FaultReadOnly, store.FaultTooManyConnections, store.FaultShutdown, store.FaultConnectionLost,
		store.FaultIdleTimeout,
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

// Fault names what an error of the server or the way to it is about; see
// [store.Fault].
func Fault(err error) store.Fault {
	n := number(err)
	if n == 0 {
		if lost(err) {
			return store.FaultConnectionLost
		}
		return ""
	}
	for fault, numbers := range faults() {
		if slices.Contains(numbers, n) {
			return fault
		}
	}
	return ""
}

// classify maps an error of the server or the way to it to its class; empty
// means that it is the statement's own fault.
func classify(err error) driver.Class { return Fault(err).Class() }

// lost reports whether the connection that gave err is gone or useless.
func lost(err error) bool {
	if n := number(err); n != 0 {
		return slices.Contains(endings(), Fault(err))
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
	switch {
	case err == nil:
		return nil
	case classify(err) == driver.ClassTransient, errors.Is(err, errReadOnly): // one host, even if others are not trusted
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	case store.Untrusted(err):
		return fmt.Errorf("%w: %w", store.ErrUntrusted, err)
	}
	return err
}

// named reports whether an error says that it is of this database, and not of
// some other connection of a handler.
func named(err error) bool {
	return number(err) != 0 || errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, guard.ErrLost) || errors.Is(err, mysql.ErrInvalidConn)
}
