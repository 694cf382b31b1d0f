// Package mysql is the MySQL and MariaDB dialect of the store, for MySQL from
// version 8.0.4 and MariaDB from 10.6 on, through go-sql-driver/mysql.
//
// Consumers in other processes learn of new messages by polling: the server has
// no notifications.
package mysql

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/migrate"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/guard"
	"github.com/posthorn/posthorn/store/pool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// How often a consumer looks, since the server tells nobody of changes: while
// messages come often, and when it has been idle for long. In between the pauses grow with
// the time without a message (store.Pace), so a shorter first one costs few looks.
const (
	busyPoll = 400 * time.Microsecond
	idlePoll = 250 * time.Millisecond
)

// Open opens the store at dsn, mysql://USER:PASSWORD@HOST:PORT/DATABASE or the
// same with mariadb, and brings its schema forward. prefix=NAME_ gives its
// tables another prefix; see [store.Names]. A host that is not this one
// has to prove itself by TLS, by the authorities in the file that tls-ca=PATH
// names or those of this host, unless the address says otherwise. Of several
// hosts, HOST:PORT,HOST:PORT, the first one that can be written to is taken.
// Errors: store.ErrDSN, ErrPlaintext, ErrUntrusted, ErrSession, ErrTooNew, ErrEngine,
// driver.ErrUnavailable.
func Open(ctx context.Context, dsn string, o store.Options) (*store.Store, error) {
	o.Poll = cmp.Or(o.Poll, idlePoll)
	a, err := parse(dsn, o.Server)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", strings.Join(a.hosts, ","), explainOpen(err))
	}
	return s, nil
}

func open(ctx context.Context, a address, o store.Options) (*store.Store, error) {
	known, err := prepare(ctx, a, o.AsIs)
	if err != nil {
		return nil, err
	}
	a.config.MaxAllowedPacket = known.maxPacket - 1
	pools, err := known.pools(a.with(known.isolation, "'READ-COMMITTED'"))
	if err != nil {
		return nil, err
	}
	o.MaxBody = min(cmp.Or(o.MaxBody, driver.MaxBody), known.maxBody())
	stmts := a.names.Of(statements())
	many := batch{Statements: stmts, names: a.names}
	d := pool.Dialect{
		Rebind: func(stmt string) string { return stmt }, Now: now, Begin: "begin", Fault: Fault, Lost: lost,
		SQL: stmts, Many: many.run, Join: newWriter(stmts, a.names, known.maxPacket/4).do, Inspect: inspectSession,
		Idle: idle, Unsent: unsent,
	}
	x := examiner{pools.App, pool.From(o.Server, len(a.hosts)), a.names}
	if !o.AsIs {
		pool.Warn(ctx, o.Log, x.connections)
	}
	e := pool.New(d, pools, nil, x.sizes)
	s, err := store.New(ctx, store.Parts{
		Engine: e, SQL: stmts, Names: a.names, Name: "mysql", Durability: known.durability,
		Fault: Fault, Named: named, DB: pools.App, Fast: busyPoll, Spans: store.DefaultSpan, MustAsk: true,
		Marks: true, ReadySince: readySince(a.names),
		Lanes: x.sizes.Effects, Checks: x.checks(),
	}, o)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return s, nil
}

// pools makes the pools of connections. Those for effects do not commit by
// themselves: when the server ends a transaction behind a handler's back, what
// the handler does next is not committed without its acknowledgement.
func (s server) pools(a address) (pool.Pools, error) {
	plain, err := a.connector()
	if err != nil {
		return pool.Pools{}, err
	}
	several, err := a.several().least("lock_wait_timeout").least("innodb_lock_wait_timeout").connector()
	if err != nil {
		return pool.Pools{}, err
	}
	effects, err := a.with("autocommit", "0").connector()
	if err != nil {
		return pool.Pools{}, err
	}
	refused := guard.Remember(func(query string) string { return refuse(query, a.names) })
	return pool.Pools{
		Guarded: sql.OpenDB(guard.Connector{
			Connector: watcher{effects, look(s.maria)},
			Check:     func(_ sqldriver.Conn, query string) string { return refused(query) },
			Ends:      guard.Remember(mayEnd),
		}),
		Control: sql.OpenDB(several),
		App:     sql.OpenDB(plain),
	}, nil
}

// prepare checks the server and brings the schema forward.
func prepare(ctx context.Context, a address, asIs bool) (known server, err error) {
	err = a.onConn(ctx, func(conn *sql.Conn) error {
		if known, err = ask(ctx, conn); err != nil || asIs {
			return err
		}
		_, err = schema(a.names).Forward(ctx, conn)
		return err
	})
	return known, err
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
	return explainOpen(a.onConn(ctx, func(conn *sql.Conn) error {
		if _, err := ask(ctx, conn); err != nil {
			return err
		}
		return fn(conn, a.names)
	}))
}

// onConn runs fn on a connection of its own.
func (a address) onConn(ctx context.Context, fn func(*sql.Conn) error) error {
	c, err := a.connector()
	if err != nil {
		return err
	}
	return pool.OnConn(ctx, sql.OpenDB(c), fn)
}

// errBusy: another migrator has the lock.
var errBusy = errors.New("another process has been migrating the store for a minute")

// schema is how the server migrates. It commits with each change of the schema,
// so every statement of a migration can be run again after one that was cut
// short, and a lock of the session keeps other migrators away.
func schema(n store.Names) migrate.Schema {
	return migrate.Schema{
		Files: migrations, Names: n.In,
		Exists: `select count(*) > 0 from information_schema.tables
			where table_schema = database() and table_name = 'posthorn_migration'`,
		Alone: func(ctx context.Context, conn *sql.Conn, fn func(migrate.Conn) error) error {
			var got sql.NullBool
			const name = `concat('posthorn:', md5(database()))`
			err := conn.QueryRowContext(ctx, `select get_lock(`+name+`, 60)`).Scan(&got)
			if err != nil {
				return err
			}
			if !got.Bool {
				return fmt.Errorf("%w: %w", driver.ErrUnavailable, errBusy)
			}
			err = fn(oneByOne{conn})
			_, unlock := conn.ExecContext(context.WithoutCancel(ctx), `do release_lock(`+name+`)`)
			return errors.Join(err, unlock)
		},
	}
}

// oneByOne runs the statements of a text one by one. Each one ends with a
// semicolon at the end of a line.
type oneByOne struct{ migrate.Conn }

// ExecContext returns the result of the last one.
func (c oneByOne) ExecContext(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	for stmt := range strings.SplitSeq(strings.TrimSpace(query)+"\n", ";\n") {
		if stmt == "" {
			continue
		}
		if res, err = c.Conn.ExecContext(ctx, stmt, args...); err != nil {
			return nil, err
		}
		failpoint.Pass(failpoint.MidMigrate)
	}
	return res, nil
}
