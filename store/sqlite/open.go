// Package sqlite is the SQLite dialect of the store: the embedded default.
//
// The database is in WAL mode with synchronous=FULL: a commit that returned
// survives a power cut. Several processes of one host may share the file; it
// must not be on a network file system.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"strings"

	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// minEngine is the first SQLite without the WAL-reset fault that could corrupt
// a database with several writers: https://www.sqlite.org/wal.html#walresetbug.
const minEngine = 3_051_003

// pools' sizes: connections that read for Posthorn, and for the application.
const (
	readerConns = 4
	appConns    = 8
)

// Open opens the store at dsn, makes it if it does not exist, and brings its
// schema forward. The form is
//
//	sqlite:PATH[?synchronous=full|normal&prefix=NAME_]
//
// with full as the default; see [store.Names] for the prefix of the tables.
//
// Where nobody in the process has used SQLite by this driver yet, Open, Migrate and Migrations
// let all its connections keep what they may have to undo in memory, up to 1 MiB each, instead
// of 64 KiB. A store that is opened later than another SQLite database is slower by a tenth.
//
// Errors: store.ErrDSN, ErrSession, ErrNotAStore, ErrTooNew, ErrReadOnly,
// ErrNetworkFS, ErrEngine, driver.ErrUnavailable.
func Open(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	a, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	if len(o.Server.Session) > 0 {
		return nil, fmt.Errorf("%w: SQLite is no server; what can be set stands in the address", store.ErrSession)
	}
	if err := a.prepare(); err != nil {
		return nil, fmt.Errorf("open %s: %w", a.path, err)
	}
	keepJournals()
	s, err := open(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", a.path, explainOpen(err))
	}
	return s, nil
}

func open(ctx context.Context, a address, o store.Options) (_ *store.Store, err error) {
	writer, err := a.guarded()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = writer.Close()
		}
	}()
	if err := checkEngine(ctx, writer); err != nil {
		return nil, err
	}
	if !o.AsIs {
		if _, err := bringForward(ctx, writer, a.names); err != nil {
			return nil, err
		}
	}
	readers, err := a.pool(readerConns, "query_only(on)")
	if err != nil {
		return nil, err
	}
	app, err := a.pool(appConns, "")
	if err != nil {
		return nil, err
	}
	watcher, err := a.pool(1, "query_only(on)")
	if err != nil {
		return nil, err
	}
	e := &files{
		sql:    a.names.Of(statements()),
		writer: writer, readers: readers, app: app, watch: newWatch(a.path, watcher, tap.Logger(o.Log)),
		stmts: map[string]*sql.Stmt{},
	}
	e.writes = store.NewCombiner(1, e.transaction)
	s, err := store.New(ctx, store.Parts{
		Engine: e, SQL: a.names.Of(statements()), Names: a.names, Name: "sqlite", Durability: a.durability(),
		Fault: Fault, DB: app, Spans: store.DefaultSpan, MustAsk: true, GuardsRuns: true,
		Checks: checks(readers, a),
	}, o)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return s, nil
}

// Migrations lists the schema's steps and when each was applied to the store
// at dsn, which need not exist: then all are pending.
func Migrations(ctx context.Context, dsn string) ([]migrate.Migration, error) {
	a, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	if !a.exists() {
		return schema(a.names).List()
	}
	keepJournals()
	db, err := a.pool(1, "query_only(on)")
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	var ms []migrate.Migration
	err = onConn(ctx, db, func(conn *sql.Conn) error {
		ms, err = schema(a.names).Status(ctx, conn)
		return err
	})
	return ms, explainOpen(err)
}

// Migrate brings the schema of the store at dsn forward, and makes the store if
// it does not exist. It returns how many steps were applied.
func Migrate(ctx context.Context, dsn string) (int, error) {
	a, err := parse(dsn)
	if err != nil {
		return 0, err
	}
	if err := a.prepare(); err != nil {
		return 0, fmt.Errorf("migrate %s: %w", a.path, err)
	}
	keepJournals()
	db, err := a.pool(1, "")
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	n, err := bringForward(ctx, db, a.names)
	return n, explainOpen(err)
}

// schema is how SQLite migrates: under the write lock, so that of several
// processes that start together one migrates, and the others find it done.
func schema(n store.Names) migrate.Schema {
	return migrate.Schema{
		Files: migrations, Names: n.In,
		Exists: `select count(*) > 0 from sqlite_master where type = 'table' and name = 'posthorn_migration'`,
		Alone: func(ctx context.Context, conn *sql.Conn, fn func(migrate.Conn) error) error {
			tx, err := conn.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // does nothing after the commit
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
	}
}

// onConn runs fn on a connection of the pool.
func onConn(ctx context.Context, db *sql.DB, fn func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return fn(conn)
}

// bringForward runs what is pending.
func bringForward(ctx context.Context, db *sql.DB, names store.Names) (n int, err error) {
	err = onConn(ctx, db, func(conn *sql.Conn) error {
		n, err = schema(names).Forward(ctx, conn)
		return err
	})
	return n, err
}

// checkEngine refuses an engine with a known fault.
func checkEngine(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "select sqlite_version()").Scan(&version); err != nil {
		return err
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("%w: version %q", store.ErrEngine, version)
	}
	if major*1_000_000+minor*1_000+patch < minEngine {
		return fmt.Errorf("%w: SQLite %s, at least 3.51.3 is needed", store.ErrEngine, version)
	}
	return nil
}

// explainOpen gives the result codes of opening their meaning.
func explainOpen(err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, lib.SQLITE_NOTADB), hasCode(err, lib.SQLITE_CORRUPT):
		return fmt.Errorf("%w: %w", store.ErrNotAStore, err)
	case hasCode(err, lib.SQLITE_READONLY), hasCode(err, lib.SQLITE_CANTOPEN), hasCode(err, lib.SQLITE_PERM):
		return fmt.Errorf("%w: %w", store.ErrReadOnly, err)
	case classify(err) == driver.ClassTransient:
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return err
}

// parse reads the store's address.
func parse(dsn string) (address, error) {
	rest, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return address{}, fmt.Errorf("%w: want sqlite:PATH", store.ErrDSN)
	}
	rest = strings.TrimPrefix(rest, "//")
	path, query, _ := strings.Cut(rest, "?")
	if path == "" || path == ":memory:" || strings.ContainsAny(path, "\x00#%") {
		return address{}, fmt.Errorf("%w: %q is no path of a file", store.ErrDSN, path)
	}
	a := address{path: path, synchronous: "full"}
	values, err := url.ParseQuery(query)
	if err != nil {
		return address{}, fmt.Errorf("%w: %w", store.ErrDSN, err)
	}
	if a.names, err = store.TakeNames(values); err != nil {
		return address{}, err
	}
	if a.names.Schema != "" {
		return address{}, fmt.Errorf("%w: SQLite has no schemas; prefix= tells several stores apart", store.ErrDSN)
	}
	for key, vals := range values {
		v := vals[len(vals)-1]
		if key != "synchronous" || v != "full" && v != "normal" {
			return address{}, fmt.Errorf("%w: %s=%s is unknown; there are synchronous=full|normal and prefix=",
				store.ErrDSN, key, v)
		}
		a.synchronous = v
	}
	return a, nil
}
