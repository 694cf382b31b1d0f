package sqlite

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"

	engine "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// classify maps an error of the database to its class, by SQLite's result code
// (https://www.sqlite.org/rescode.html); empty means that it is the
// statement's own fault.
func classify(err error) driver.Class {
	var e *engine.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, sqldriver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		return driver.ClassTransient
	case !errors.As(err, &e):
		return ""
	case e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE, e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return store.ClassUnique
	}
	switch primary(e) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_PROTOCOL, // another process holds the lock
		lib.SQLITE_IOERR, lib.SQLITE_FULL, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, // the disk
		lib.SQLITE_NOMEM, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return driver.ClassTransient
	case lib.SQLITE_ERROR:
		return store.ClassNoTable
	}
	return ""
}

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

// hasCode reports whether err is SQLite's with this primary result code.
func hasCode(err error, code int) bool {
	var e *engine.Error
	return errors.As(err, &e) && primary(e) == code
}

// primary is the result code without its extension.
func primary(e *engine.Error) int { return e.Code() & 0xff }
