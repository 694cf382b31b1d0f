package store

import (
	"crypto/tls"
	"crypto/x509"
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
	// ErrUntrusted: the server has not proven who it is: its certificate is not
	// by an authority that is trusted, not for its host's name, or out of date.
	ErrUntrusted = errors.New("server's certificate is not trusted")
)

// Untrusted reports whether err says that a server's certificate was refused,
// which no waiting heals. Dialects say it as ErrUntrusted.
func Untrusted(err error) bool {
	var (
		refused   *tls.CertificateVerificationError // what follows, unless it is checked by a function of one's own
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &refused) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

// Classes of errors that a dialect tells the core, beside driver.ClassTransient.
const (
	ClassUnique  driver.Class = "unique"   // a unique key is taken
	ClassNoTable driver.Class = "no_table" // a table or column is missing
)

// A Fault names what a database's error is about, finer than its class, which
// follows from it. Each dialect has one table from the codes of its database to
// faults, and a function Fault that looks an error up in it. An error that has
// no fault is of the statement, in a way that needs no name of its own.
type Fault string

// The faults of the store or of the way to it: they are of driver.ClassTransient.
const (
	FaultDeadlock           Fault = "deadlock"             // two transactions waited for each other; this one gave way
	FaultSerialization      Fault = "serialization"        // another transaction has changed what this one has read
	FaultLockTimeout        Fault = "lock_timeout"         // somebody else holds the lock
	FaultReadOnly           Fault = "read_only"            // a replica, or a server or file that cannot be written now
	FaultTooManyConnections Fault = "too_many_connections" // the server lets no more in
	FaultShutdown           Fault = "shutdown"             // the server stops, starts, or ended the session by hand
	FaultConnectionLost     Fault = "connection_lost"      // or never had
	FaultIdleTimeout        Fault = "idle_timeout"         // the server ended a session that did nothing
	FaultDiskFull           Fault = "disk_full"
	FaultStorage            Fault = "storage"   // files that cannot be read or written, or are damaged
	FaultResources          Fault = "resources" // memory, or room that all work shares
	FaultChanged            Fault = "changed"   // a table was altered meanwhile
)

// The faults of a statement or its values: they are the handler's own, and cost
// it an attempt.
const (
	FaultUnique           Fault = "unique"            // a unique key is taken; of ClassUnique
	FaultNoTable          Fault = "no_table"          // a table or column is missing; of ClassNoTable
	FaultStatement        Fault = "statement"         // SQLite says no more than: syntax, or no table; of ClassNoTable
	FaultSyntax           Fault = "syntax"            // the statement, or a name or type in it, is wrong
	FaultTooLong          Fault = "too_long"          // a value is longer than its column or than any may be
	FaultOutOfRange       Fault = "out_of_range"      // a number does not fit
	FaultValue            Fault = "value"             // a value is none of the column's type
	FaultNotNull          Fault = "not_null"          // a value is missing
	FaultConstraint       Fault = "constraint"        // a foreign key or a check forbids it
	FaultPermission       Fault = "permission"        // the role may not
	FaultStatementTimeout Fault = "statement_timeout" // the statement was ended, by its time limit or by hand
	FaultAborted          Fault = "aborted"           // an earlier statement has aborted the transaction
	FaultLimit            Fault = "limit"             // the statement needs more than the settings let one have
)

// Class is what the fault means for a message: driver.ClassTransient,
// ClassUnique, ClassNoTable, or empty when it is the statement's own.
func (f Fault) Class() driver.Class {
	switch f {
	case FaultDeadlock, FaultSerialization, FaultLockTimeout, FaultReadOnly, FaultTooManyConnections, FaultShutdown,
		FaultConnectionLost, FaultIdleTimeout, FaultDiskFull, FaultStorage, FaultResources, FaultChanged:
		return driver.ClassTransient
	case FaultUnique:
		return ClassUnique
	case FaultNoTable, FaultStatement:
		return ClassNoTable
	}
	return ""
}
