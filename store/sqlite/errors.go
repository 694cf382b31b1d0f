package sqlite

import (
	"cmp"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	engine "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// faults are the faults by SQLite's extended result codes, and by the primary
// ones: https://www.sqlite.org/rescode.html.
func faults() map[int]store.Fault {
	return map[int]store.Fault{
		lib.SQLITE_BUSY:          store.FaultLockTimeout, // another process holds the lock
		lib.SQLITE_BUSY_SNAPSHOT: store.FaultSerialization,
		lib.SQLITE_LOCKED:        store.FaultLockTimeout,
		lib.SQLITE_PROTOCOL:      store.FaultLockTimeout,
		lib.SQLITE_READONLY:      store.FaultReadOnly,
		lib.SQLITE_FULL:          store.FaultDiskFull,
		lib.SQLITE_IOERR:         store.FaultStorage,
		lib.SQLITE_CANTOPEN:      store.FaultStorage,
		lib.SQLITE_CORRUPT:       store.FaultStorage,
		lib.SQLITE_NOTADB:        store.FaultStorage,
		lib.SQLITE_NOMEM:         store.FaultResources,

		lib.SQLITE_ERROR:                 store.FaultStatement,
		lib.SQLITE_TOOBIG:                store.FaultTooLong,
		lib.SQLITE_MISMATCH:              store.FaultValue,
		lib.SQLITE_CONSTRAINT:            store.FaultConstraint,
		lib.SQLITE_CONSTRAINT_DATATYPE:   store.FaultValue,
		lib.SQLITE_CONSTRAINT_NOTNULL:    store.FaultNotNull,
		lib.SQLITE_CONSTRAINT_UNIQUE:     store.FaultUnique,
		lib.SQLITE_CONSTRAINT_PRIMARYKEY: store.FaultUnique,
		lib.SQLITE_AUTH:                  store.FaultPermission,
		lib.SQLITE_PERM:                  store.FaultPermission,
		lib.SQLITE_INTERRUPT:             store.FaultStatementTimeout,
	}
}

// Fault names what an error of the database is about; see [store.Fault].
func Fault(err error) store.Fault {
	var e *engine.Error
	switch {
	case errors.As(err, &e):
		table := faults()
		return cmp.Or(table[e.Code()], table[primary(e)])
	case errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return store.FaultConnectionLost
	}
	return ""
}

// classify maps an error of the database to its class; empty means that it is
// the statement's own fault.
func classify(err error) driver.Class { return Fault(err).Class() }

// broken reports whether the connection that gave err must not be used again.
func broken(err error) bool {
	var e *engine.Error
	if !errors.As(err, &e) {
		return errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
	}
	switch primary(e) {
	case lib.SQLITE_IOERR, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_NOMEM, lib.SQLITE_MISUSE,
		lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY:
		return true
	}
	return false
}

// unsure marks the error of a COMMIT that could not write or sync its log. The transaction
// may stand there as a whole: it does not count while anybody has the file open, and the
// next one takes its place, but whoever opens the file after a crash finds it committed
// (https://www.sqlite.org/walformat.html#recovery).
func unsure(err error) error {
	if !hasCode(err, lib.SQLITE_IOERR) {
		return err
	}
	return fmt.Errorf("%w: %w: %w", driver.ErrUnavailable, driver.ErrOutcomeUnknown, err)
}

// hasCode reports whether err is SQLite's with this primary result code.
func hasCode(err error, code int) bool {
	var e *engine.Error
	return errors.As(err, &e) && primary(e) == code
}

// primary is the result code without its extension.
func primary(e *engine.Error) int { return e.Code() & 0xff }
