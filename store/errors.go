package store

import (
	"errors"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/migrate"
)

// Why a store cannot be opened. They are wrapped; compare with errors.Is.
var (
	// ErrNotAStore: the file or database is not a Posthorn store.
	ErrNotAStore = errors.New("not a Posthorn store")
	// ErrTooNew: the schema was migrated by a newer Posthorn.
	ErrTooNew = migrate.ErrTooNew
	// ErrReadOnly: the file or its directory cannot be written.
	ErrReadOnly = errors.New("store cannot be written")
	// ErrNetworkFS: the file is on a network file system, where SQLite's locks
	// do not hold.
	ErrNetworkFS = errors.New("store is on a network file system")
	// ErrEngine: the database engine is too old to be trusted.
	ErrEngine = errors.New("database engine is too old")
	// ErrDSN: the store's address is malformed.
	ErrDSN = errors.New("malformed store address")
	// ErrSession: a session setting is malformed, or the server refuses it.
	ErrSession = errors.New("bad session setting")
	// ErrPlaintext: the way to a remote server would not be encrypted, and
	// nobody has agreed to that.
	ErrPlaintext = errors.New("plaintext to a remote server")
)

// Classes of errors that a dialect tells the core, beside driver.ClassTransient.
const (
	ClassUnique  driver.Class = "unique"   // a unique key is taken
	ClassNoTable driver.Class = "no_table" // a table or column is missing
)
