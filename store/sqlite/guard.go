package sqlite

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"

	engine "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/driver"
)

// errDestroy makes database/sql close a connection.
var errDestroy = sqldriver.ErrBadConn

// errNoAuthorizer: the driver cannot install the guard.
var errNoAuthorizer = errors.New("the driver has no authorizer")

// ownPrefix starts the names of Posthorn's tables and savepoints.
const ownPrefix = "posthorn_"

// A guard is the session guard of one connection: SQLite asks it about every
// statement that it compiles (https://www.sqlite.org/c3ref/set_authorizer.html).
// While a handler is inside, it refuses what would end the transaction, change
// the session, or touch Posthorn's own tables; and it notes temporary objects,
// which outlive the transaction.
type guard struct {
	mu        sync.Mutex
	inside    bool
	suspended bool
	refused   string
	dirty     string
}

// install sets the guard on a driver connection.
func (g *guard) install(conn any) error {
	r, ok := conn.(engine.AuthorizerRegisterer)
	if !ok {
		return errNoAuthorizer
	}
	return r.RegisterAuthorizer(g.authorize)
}

func (g *guard) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside, g.refused = true, ""
}

func (g *guard) leave() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside = false
	return g.dirty
}

// isDirty reports whether the connection must be destroyed.
func (g *guard) isDirty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dirty != ""
}

func (g *guard) suspend(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspended = on
}

// explain turns SQLite's "not authorized" into the reason.
func (g *guard) explain(err error) error {
	if !hasCode(err, lib.SQLITE_AUTH) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Errorf("%w: %s", driver.ErrTxRefused, g.refused)
}

// authorize is SQLite's question. The schema argument is not needed: Posthorn's
// tables are in the main database, and no other can be attached.
func (g *guard) authorize(a engine.AuthorizerActionCode, arg1, arg2, _, _ string) engine.AuthorizerReturnCode {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.inside || g.suspended {
		return engine.AuthorizerOK
	}
	if why := refuse(a, arg1, arg2); why != "" {
		g.refused = why
		return engine.AuthorizerDeny
	}
	if temporary(a) {
		g.dirty = "temporary object " + arg1
	}
	return engine.AuthorizerOK
}

// refuse says why an action is not allowed; empty allows it.
func refuse(a engine.AuthorizerActionCode, arg1, arg2 string) string {
	switch a {
	case engine.AuthTransaction:
		return strings.ToLower(arg1) + " would end the handler's transaction"
	case engine.AuthSavepoint:
		if own(arg2) {
			return "savepoint " + arg2 + " is Posthorn's own"
		}
	case engine.AuthAttach, engine.AuthDetach:
		return "attach and detach change the session"
	case engine.AuthPragma:
		return refusePragma(strings.ToLower(arg1), arg2)
	case engine.AuthInsert, engine.AuthUpdate, engine.AuthDelete, engine.AuthDropTable, engine.AuthDropVTable,
		engine.AuthCreateTable, engine.AuthCreateTempTable, engine.AuthCreateView, engine.AuthCreateTempView,
		engine.AuthCreateVTable:
		if own(arg1) {
			return "table " + arg1 + " is Posthorn's own"
		}
	case engine.AuthAlterTable, engine.AuthCreateIndex, engine.AuthDropIndex, engine.AuthCreateTempIndex,
		engine.AuthCreateTrigger, engine.AuthDropTrigger, engine.AuthCreateTempTrigger:
		if own(arg2) {
			return "table " + arg2 + " is Posthorn's own"
		}
	}
	return ""
}

// refusePragma allows the pragmas that only read, and defer_foreign_keys, which
// ends with the transaction.
func refusePragma(name, value string) string {
	switch name {
	case "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
		"foreign_key_check", "integrity_check", "quick_check", "defer_foreign_keys":
		return ""
	case "foreign_keys", "user_version", "application_id", "data_version", "schema_version", "compile_options",
		"database_list", "function_list", "collation_list", "encoding", "page_count", "page_size", "freelist_count",
		"journal_mode", "synchronous", "busy_timeout", "cache_size":
		if value == "" {
			return ""
		}
	}
	return "pragma " + name + " changes the session"
}

func own(name string) bool {
	return len(name) >= len(ownPrefix) && strings.EqualFold(name[:len(ownPrefix)], ownPrefix)
}

// temporary reports whether the action makes something that lives as long as
// the connection.
func temporary(a engine.AuthorizerActionCode) bool {
	switch a {
	case engine.AuthCreateTempTable, engine.AuthCreateTempView, engine.AuthCreateTempTrigger,
		engine.AuthCreateTempIndex:
		return true
	}
	return false
}
