// Package postgres is the PostgreSQL dialect of the store, for servers from
// version 13 on, through pgx under database/sql.
//
// Every statement of Posthorn's own is valid under PgBouncer's transaction
// pooling. Handlers' connections keep session state between Begin and Commit
// only.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
	"github.com/posthorn/posthorn/store/pool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// minVersion is the oldest server that is supported.
const minVersion = 130000

// migrationLock is the key of the advisory lock that migrators take.
const migrationLock = 0x706f7374686f726e // "posthorn"

// Open opens the store at dsn, a postgres:// URL, and brings its schema
// forward. Errors: store.ErrDSN, ErrTooNew, ErrEngine, driver.ErrUnavailable.
func Open(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, config, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", config.Host, explainOpen(err))
	}
	return s, nil
}

// parse never repeats the address in an error: it holds a password.
func parse(dsn string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return nil, fmt.Errorf("%w: want postgres://USER@HOST:PORT/DATABASE", store.ErrDSN)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not parse as a postgres:// URL", store.ErrDSN)
	}
	return config, nil
}

func open(ctx context.Context, config *pgx.ConnConfig, o store.Options) (*store.Store, error) {
	app := stdlib.OpenDB(*config)
	durability, err := prepare(ctx, app)
	if err != nil {
		return nil, errors.Join(err, app.Close())
	}
	guarded := sql.OpenDB(guard.Connector{Connector: stdlib.GetConnector(*config), Check: refuse})
	d := pool.Dialect{
		Rebind: rebinder(), Now: statements().Now, Begin: "begin", Classify: classify, Lost: lost, Many: pipeline,
		Inspect: func(ctx context.Context, conn *sql.Conn) (string, error) {
			return inspectSession(ctx, conn, config.User)
		},
	}
	e := pool.New(d, pool.Pools{Guarded: guarded, Control: stdlib.OpenDB(*config), App: app},
		newEars(config), pool.Options{})
	s, err := store.New(ctx, store.Parts{
		Engine: e, SQL: statements(), Name: "postgres", Durability: durability, Classify: classify,
		Rebind: d.Rebind, DB: app, Lanes: pool.DefaultEffects,
	}, o)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return s, nil
}

// prepare checks the server, brings the schema forward, and reads how durable
// commits are.
func prepare(ctx context.Context, db *sql.DB) (driver.Durability, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	var number, fsync, commit string
	err = conn.QueryRowContext(ctx, `select current_setting('server_version_num'), current_setting('fsync'),
		current_setting('synchronous_commit')`).Scan(&number, &fsync, &commit)
	if err != nil {
		return "", err
	}
	if v, err := strconv.Atoi(number); err != nil || v < minVersion {
		return "", fmt.Errorf("%w: PostgreSQL %s, at least 13 is needed", store.ErrEngine, number)
	}
	if _, err := bringForward(ctx, conn); err != nil {
		return "", err
	}
	if fsync == "off" || commit == "off" {
		return driver.ProcessSafe, nil
	}
	return driver.PowerSafe, nil
}

// Migrate brings the schema of the store at dsn forward. It returns how many
// steps were applied.
func Migrate(ctx context.Context, dsn string) (n int, err error) {
	err = withConn(ctx, dsn, func(conn *sql.Conn) error {
		n, err = bringForward(ctx, conn)
		return err
	})
	return n, err
}

// Migrations lists the schema's steps and when each was applied.
func Migrations(ctx context.Context, dsn string) (ms []migrate.Migration, err error) {
	err = withConn(ctx, dsn, func(conn *sql.Conn) error {
		ms, err = status(ctx, conn)
		return err
	})
	return ms, err
}

func withConn(ctx context.Context, dsn string, fn func(*sql.Conn) error) error {
	config, err := parse(dsn)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return explainOpen(err)
	}
	defer func() { _ = conn.Close() }()
	return explainOpen(fn(conn))
}

func load() ([]migrate.Migration, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return migrate.Load(dir)
}

func status(ctx context.Context, c migrate.Conn) ([]migrate.Migration, error) {
	ms, err := load()
	if err != nil {
		return nil, err
	}
	there, err := migrated(ctx, c)
	if err != nil {
		return nil, err
	}
	return migrate.Status(ctx, c, ms, there)
}

// bringForward migrates in one transaction, under a lock that ends with it.
func bringForward(ctx context.Context, conn *sql.Conn) (int, error) {
	ms, err := status(ctx, conn)
	if err != nil || !ms[len(ms)-1].AppliedAt.IsZero() {
		return 0, err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if _, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock($1)", migrationLock); err != nil {
		return 0, err
	}
	there, err := migrated(ctx, tx)
	if err != nil {
		return 0, err
	}
	n, err := migrate.Apply(ctx, tx, ms, there)
	if err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// migrated reports whether the table of migrations is in the search path.
func migrated(ctx context.Context, c migrate.Conn) (there bool, err error) {
	rows, err := c.QueryContext(ctx, "select to_regclass('posthorn_migration') is not null")
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := rows.Scan(&there); err != nil {
			return false, err
		}
	}
	return there, rows.Err()
}

// explainOpen gives errors of opening their meaning.
func explainOpen(err error) error {
	if err != nil && classify(err) == driver.ClassTransient {
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, err)
	}
	return err
}

// rebinder writes ? as $1, $2 …, and remembers what it wrote.
func rebinder() func(string) string {
	var known sync.Map
	return func(stmt string) string {
		if text, ok := known.Load(stmt); ok {
			return text.(string)
		}
		var b strings.Builder
		n := 0
		for _, r := range stmt {
			if r != '?' {
				b.WriteRune(r)
				continue
			}
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		known.Store(stmt, b.String())
		return b.String()
	}
}
