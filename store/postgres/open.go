// Package postgres is the PostgreSQL dialect of the store, for servers from
// version 13 on, through pgx under database/sql.
//
// Every statement of Posthorn's own is valid under PgBouncer's transaction
// pooling. Handlers' connections keep session state between Begin and Commit
// only.
//
// # Addresses
//
// The address is a URL as libpq and pgx know it:
//
//	postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=/etc/ca.pem
//	postgres://USER@HOST1:5432,HOST2:5432/DATABASE      the one that can be written; see target_session_attrs
//	postgres://USER@/DATABASE?host=/run/postgresql      a Unix socket
//
// Without sslmode, a host that is not this one must prove itself by TLS
// (verify-full); sslmode=require encrypts without proof. What may end in
// plaintext to a remote host (prefer, allow, disable) is refused with
// store.ErrPlaintext, but for sslmode=disable&allow_plaintext=1, for networks
// that nobody else can read. Loopback addresses and sockets need no TLS. See
// docs/adr/0010-encrypted-unless-said.md.
//
// schema=NAME puts the tables into a schema, which is made if it is missing, and
// prefix=NAME_ gives them another prefix, so that several stores fit into one
// database; see [store.Names].
//
// A pooler that lends the server's sessions, such as PgBouncer, is found when the
// store is opened: then nothing is prepared, what handlers left is undone before
// each commit, and other processes' messages are found by polling. Settings of
// the session belong to the role there (alter role … set …).
//
// listen=HOST:PORT names the server itself beside a pooler, or any way to it that
// keeps a session for each connection. Processes whose addresses have it wake each
// other there by LISTEN and NOTIFY, with the same user, password and parameters for
// TLS, and the same rules for plaintext; all else goes by the pooler. It is refused
// with store.ErrDSN when it leads to a pooler or to another database. While it cannot
// be reached, consumers poll. See docs/adr/0013-behind-a-pooler.md.
//
// Names of hosts are resolved anew for each connection, by pgconn. A connection
// is given up after connect_timeout seconds (5 without it) for each host.
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
	"github.com/posthorn/posthorn/store/pool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock that migrators take.
const migrationLock = 0x706f7374686f726e // "posthorn"

// How often a consumer looks, while messages come often and when it has been idle
// for long: what DispatchTx sent is told to nobody, since nobody but its caller
// knows of the commit, and notifications do not pass a pooler.
const (
	busyPoll = 10 * time.Millisecond
	idlePoll = 500 * time.Millisecond
)

// Open opens the store at dsn, a postgres:// URL, and brings its schema
// forward. Errors: store.ErrDSN, ErrPlaintext, ErrUntrusted, ErrSession, ErrTooNew,
// ErrEngine, driver.ErrUnavailable.
func Open(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	o.Poll = cmp.Or(o.Poll, idlePoll)
	a, err := parse(dsn, o.Server)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", a.config.Host, explainOpen(err))
	}
	return s, nil
}

func open(ctx context.Context, a address, o store.Options) (*store.Store, error) {
	if err := a.settlePooler(ctx, len(o.Server.Session)); err != nil {
		return nil, err
	}
	config := a.config
	app := stdlib.OpenDB(*config)
	durability, err := prepare(ctx, app, a.names, o.AsIs)
	way := a.line(app)
	if err == nil {
		err = way.settle(ctx, o.Log)
	}
	if err != nil {
		return nil, errors.Join(err, app.Close())
	}
	o.Server.ConnectTimeout = config.ConnectTimeout
	sizes := pool.From(o.Server, a.hosts)
	x := examiner{app, sizes, a.names, way}
	if !o.AsIs {
		pool.Warn(ctx, o.Log, x.connections)
	}
	refused := guard.Remember(func(query string) string { return refuse(query, a.names) })
	guarded := sql.OpenDB(guard.Connector{
		Connector: stdlib.GetConnector(*config, knowsArrays()), Mark: guard.Remember(guard.MarkOf), Standing: standing,
		CheckArgs: refuseArgs, Ends: guard.Remember(guard.PostgreSQL.UsesSavepoints), Cutter: cutter,
		Check: func(conn sqldriver.Conn, query string) string { return cmp.Or(illegible(conn), refused(query)) },
	})
	d := pool.Dialect{
		Rebind: rebinder(), Now: statements().Now, Begin: "begin", Fault: Fault, Lost: lost, Many: pipeline,
		Do: newWriter(a.names).do, Unsent: unsent, Idle: idle, Deadline: deadline,
		Local: true, Whole: whole, Inspect: newInspector(config.User).inspect,
	}
	control := stdlib.OpenDB(a.control(), knowsArrays())
	e := pool.New(a.forPooler(d), pool.Pools{Guarded: guarded, Control: control, App: app}, a.ears(way), sizes)
	s, err := store.New(ctx, store.Parts{
		Engine: e, SQL: a.names.Of(statements()), Names: a.names, Name: "postgres", Durability: durability,
		Fault: Fault, Named: named,
		Rebind: d.Rebind, DB: app, Fast: busyPoll, Marks: true, Abreast: min(2, sizes.Control), Spans: store.DefaultSpan,
		Lanes: sizes.Effects, Checks: x.checks(),
	}, o)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return s, nil
}

// Migrate brings the schema of the store at dsn forward. It returns how many
// steps were applied.
func Migrate(ctx context.Context, dsn string) (n int, err error) {
	err = withConn(ctx, dsn, func(conn *sql.Conn, names store.Names) error {
		n, err = schema(names).Forward(ctx, conn)
		return err
	})
	return n, err
}

// Migrations lists the schema's steps and when each was applied.
func Migrations(ctx context.Context, dsn string) (ms []migrate.Migration, err error) {
	err = withConn(ctx, dsn, func(conn *sql.Conn, names store.Names) error {
		ms, err = schema(names).Status(ctx, conn)
		return err
	})
	return ms, err
}

func withConn(ctx context.Context, dsn string, fn func(*sql.Conn, store.Names) error) error {
	a, err := parse(dsn, store.ServerOptions{})
	if err != nil {
		return err
	}
	if err := a.settlePooler(ctx, 0); err != nil {
		return explainOpen(err)
	}
	return explainOpen(pool.OnConn(ctx, stdlib.OpenDB(*a.config), func(conn *sql.Conn) error {
		return fn(conn, a.names)
	}))
}

// schema is how PostgreSQL migrates: in one transaction, under a lock that ends
// with it.
func schema(n store.Names) migrate.Schema {
	return migrate.Schema{
		Files: migrations, Names: n.In,
		Exists: "select to_regclass('posthorn_migration') is not null", // in the search path
		Alone: func(ctx context.Context, conn *sql.Conn, fn func(migrate.Conn) error) error {
			tx, err := conn.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // does nothing after the commit
			if _, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock($1)", migrationLock); err != nil {
				return err
			}
			if err := makeSchema(ctx, tx, n); err != nil {
				return err
			}
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
	}
}

// makeSchema makes the schema of the tables unless it is there: who may use a
// schema need not have the right to make one.
func makeSchema(ctx context.Context, tx *sql.Tx, n store.Names) error {
	if n.Schema == "" {
		return nil
	}
	var there bool
	err := tx.QueryRowContext(ctx, "select to_regnamespace($1) is not null", `"`+n.Schema+`"`).Scan(&there)
	if err != nil || there {
		return err
	}
	if _, err = tx.ExecContext(ctx, `create schema "`+n.Schema+`"`); err != nil {
		return fmt.Errorf("create schema %s: %w", n.Schema, err)
	}
	return nil
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
