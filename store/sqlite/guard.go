package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"strings"

	engine "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
)

// errNoInterface: the driver lacks something that the guard builds on.
var errNoInterface = errors.New("the SQLite driver lacks an interface")

// ownSavepoint starts the names of Posthorn's savepoints.
const ownSavepoint = "posthorn_"

// A sentry decides what a handler may do to tables of these names.
type sentry struct{ store.Names }

// installer makes a guard.Connector's Install for a store of these names.
func installer(n store.Names) func(context.Context, sqldriver.Conn, *guard.Guard) error {
	return sentry{n}.install
}

// install sets the session guard on a driver's connection: SQLite asks it about
// every statement that it compiles (https://www.sqlite.org/c3ref/set_authorizer.html).
// While a handler is inside, it refuses what would end the transaction, change
// the session, or touch Posthorn's own tables; it notes what the next handler
// would see, temporary objects for one; and it vetoes every commit
// (https://www.sqlite.org/c3ref/commit_hook.html).
func (s sentry) install(_ context.Context, conn sqldriver.Conn, g *guard.Guard) error {
	authorizer, ok := conn.(engine.AuthorizerRegisterer)
	hooks, has := conn.(engine.HookRegisterer)
	if !ok || !has {
		return errNoInterface
	}
	hooks.RegisterCommitHook(func() int32 { return veto(g) })
	return authorizer.RegisterAuthorizer(
		func(a engine.AuthorizerActionCode, arg1, arg2, _, _ string) engine.AuthorizerReturnCode {
			return s.authorize(g, a, arg1, arg2)
		})
}

// veto is asked before SQLite commits; anything but 0 rolls back. No commit may
// happen while a handler is inside. The authorizer refuses to compile one, but
// "insert or rollback" ends the transaction without asking, and what the
// handler writes after it would commit by itself.
func veto(g *guard.Guard) int32 {
	if !g.Inside() {
		return 0
	}
	g.Refuse("the handler's transaction had ended before this statement")
	return 1
}

// explain turns SQLite's "not authorized" into the reason.
func explain(g *guard.Guard, err error) error {
	var e *engine.Error
	if errors.As(err, &e) && (primary(e) == lib.SQLITE_AUTH || e.Code() == lib.SQLITE_CONSTRAINT_COMMITHOOK) {
		return g.Refused()
	}
	return err
}

// authorize is SQLite's question, without the schema: Posthorn's tables are in
// the main database, and no other can be attached.
func (s sentry) authorize(
	g *guard.Guard, a engine.AuthorizerActionCode, arg1, arg2 string,
) engine.AuthorizerReturnCode {
	if !g.Watches() {
		return engine.AuthorizerOK
	}
	if why := s.refuse(a, arg1, arg2); why != "" {
		g.Refuse(why)
		return engine.AuthorizerDeny
	}
	if a == engine.AuthSavepoint && g.RefuseEnding() { // it may be one that another has left
		return engine.AuthorizerDeny
	}
	if why := soils(a, arg1, arg2); why != "" {
		g.Soil(why)
	}
	return engine.AuthorizerOK
}

// refuse says why an action is not allowed; empty allows it.
func (s sentry) refuse(a engine.AuthorizerActionCode, arg1, arg2 string) string {
	switch a {
	case engine.AuthTransaction:
		return strings.ToLower(arg1) + " would end the handler's transaction"
	case engine.AuthSavepoint:
		if len(arg2) >= len(ownSavepoint) && strings.EqualFold(arg2[:len(ownSavepoint)], ownSavepoint) {
			return "savepoint " + arg2 + " is Posthorn's own"
		}
	case engine.AuthAttach, engine.AuthDetach:
		return "attach and detach change the session"
	case engine.AuthPragma:
		return refusePragma(strings.ToLower(arg1), arg2)
	case engine.AuthInsert, engine.AuthUpdate, engine.AuthDelete, engine.AuthDropTable, engine.AuthDropVTable,
		engine.AuthCreateTable, engine.AuthCreateTempTable, engine.AuthCreateView, engine.AuthCreateTempView,
		engine.AuthCreateVTable:
		if s.Own(arg1) {
			return "table " + arg1 + " is Posthorn's own"
		}
	case engine.AuthAlterTable:
		if strings.EqualFold(arg1, "temp") || s.Own(arg2) { // a new name could hide a table of Posthorn's
			return "alter table " + arg2 + ": it is temporary or Posthorn's own"
		}
	case engine.AuthCreateIndex, engine.AuthDropIndex, engine.AuthCreateTempIndex,
		engine.AuthCreateTrigger, engine.AuthDropTrigger, engine.AuthCreateTempTrigger:
		if s.Own(arg2) {
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
		"journal_mode", "synchronous", "busy_timeout", "cache_size", "query_only", "recursive_triggers",
		"read_uncommitted", "locking_mode", "temp_store", "writable_schema", "ignore_check_constraints",
		"automatic_index", "reverse_unordered_selects", "wal_autocheckpoint", "journal_size_limit", "mmap_size",
		"secure_delete", "cell_size_check", "trusted_schema":
		if value == "" {
			return ""
		}
	}
	return "pragma " + name + " changes the session"
}

// soils says what the action leaves in the session that the next handler would
// see: what lives as long as the connection, or as long as the shared transaction.
func soils(a engine.AuthorizerActionCode, arg1, arg2 string) string {
	switch a {
	case engine.AuthCreateTempTable, engine.AuthCreateTempView, engine.AuthCreateTempTrigger,
		engine.AuthCreateTempIndex:
		return "temporary object " + arg1
	case engine.AuthPragma:
		if strings.EqualFold(arg1, "defer_foreign_keys") && arg2 != "" {
			return "pragma defer_foreign_keys"
		}
	}
	return ""
}
