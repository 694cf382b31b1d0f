package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// patience bounds every wait of a test: it is a safety net, never a measure.
const patience = 30 * time.Second

// send sends a message to queue q.
func send(t *testing.T, s *store.Store, id string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.Send(ctx, driver.Envelope{ID: id, Kind: "k", Queue: "q", Body: []byte("x")})
}

// effect receives a message of queue q and runs fn in its transaction.
func effect(t *testing.T, s *store.Store, fn func(ctx context.Context, tx driver.Tx) error) {
	t.Helper()
	if err := outcome(t, s, fn); err != nil {
		t.Fatal(err)
	}
}

// outcome is effect for one that may go wrong.
func outcome(t *testing.T, s *store.Store, fn func(ctx context.Context, tx driver.Tx) error) error {
	t.Helper()
	return outcomeOf(t, s, driver.Unit{Timeout: patience, Effect: fn})
}

// outcomeOf runs a unit for the next message.
func outcomeOf(t *testing.T, s *store.Store, u driver.Unit) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := s.Consume(ctx, driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ds, err := c.Receive(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	u.Delivery, u.Context = ds[0], ctx
	return s.Transact(ctx, []driver.Unit{u})[0]
}

// text is the one value of a query.
func text(t *testing.T, db *sql.DB, query string, args ...any) (out string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryConnectionHasTheSessionSettings(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t)
	name := `it's "x"; select 1 \ $1`
	s := openStore(t, db.DSN(), store.Options{Server: store.ServerOptions{
		Effects: 1, Session: map[string]string{"statement_timeout": "31s", "application_name": name, "shop.tenant": "7"},
	}})
	var pids []int
	for i := range 2 {
		if err := send(t, s, fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
		effect(t, s, func(ctx context.Context, tx driver.Tx) error {
			var pid int
			var timeout, tenant string
			err := tx.QueryRowContext(ctx, `select pg_backend_pid(), current_setting('statement_timeout'),
				current_setting('shop.tenant')`).Scan(&pid, &timeout, &tenant)
			if err == nil && (timeout != "31s" || tenant != "7") {
				t.Errorf("a handler sees %q and %q", timeout, tenant)
			}
			pids = append(pids, pid)
			return err
		})
	}
	if pids[0] != pids[1] {
		t.Error("the settings were taken for a handler's, and the connection was destroyed")
	}
	if got := text(t, s.DB(), "select current_setting('statement_timeout')"); got != "31s" {
		t.Errorf("the application sees statement_timeout %q", got)
	}
	others := text(t, db.Open(t), `select coalesce(string_agg(application_name || ': ' || query, '; '), '')
		from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and application_name <> $1`, name)
	if others != "" {
		t.Errorf("connections without the settings: %s", others)
	}
}

func TestASettingThatTheServerRefusesIsAnErrorAtOpen(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t).DSN()
	for name, value := range map[string]string{
		"statement_timeuot": "30s", "statement_timeout": "soon", "wal_level": "minimal", "max_connections": "5",
	} {
		_, err := postgres.Open(t.Context(), dsn, store.Options{
			Server: store.ServerOptions{Session: map[string]string{name: value}},
		})
		if !errors.Is(err, store.ErrSession) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrSession that names it", name, err)
		}
	}
}

// setReadOnly makes a server a primary, or what looks like a standby.
func setReadOnly(t *testing.T, s *testserver.Server, value string) {
	t.Helper()
	err := s.Exec("alter system set default_transaction_read_only = "+value, "select pg_reload_conf()")
	if err != nil {
		t.Fatal(err)
	}
	db, err := s.Open(s.Superuser(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		db.SetMaxIdleConns(0) // a new session each time
		if text(t, db, "show default_transaction_read_only") == value {
			return
		}
	}
	t.Fatal("the server does not read its configuration")
}

func TestAFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	one := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	two := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	id := text(t, openStore(t, one.DSN("postgres", ""), store.Options{}).DB(),
		"select value from posthorn_meta where name = 'store_id'")
	other := openStore(t, two.DSN("postgres", ""), store.Options{}) // a standby is the same store
	const same = "update posthorn_meta set value = $1 where name = 'store_id'"
	if _, err := other.DB().ExecContext(t.Context(), same, id); err != nil {
		t.Fatal(err)
	}
	setReadOnly(t, one, "on")

	dsn := strings.Replace(one.DSN("postgres", ""), one.Addr(), one.Addr()+","+two.Addr(), 1)
	s := openStore(t, dsn, store.Options{})
	if err := send(t, s, "before"); err != nil {
		t.Fatal(err)
	}
	stored(t, two, "before")

	setReadOnly(t, two, "on") // demoted, while connections to it stand
	setReadOnly(t, one, "off")
	sendAtLast(t, s, "demoted")
	stored(t, one, "demoted")

	setReadOnly(t, two, "off")
	if err := one.Kill(); err != nil {
		t.Fatal(err)
	}
	sendAtLast(t, s, "killed")
	stored(t, two, "killed")
}

// sendAtLast sends until it works. What is unavailable meanwhile is no other error.
func sendAtLast(t *testing.T, s *store.Store, id string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := send(t, s, id)
		switch {
		case err == nil, errors.Is(err, driver.ErrDuplicate):
			return
		case !errors.Is(err, driver.ErrUnavailable):
			t.Fatalf("sending during a failover: %v, want ErrUnavailable", err)
		case time.Now().After(deadline):
			t.Fatalf("the failover is not followed: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stored checks which server got a message.
func stored(t *testing.T, s *testserver.Server, id string) {
	t.Helper()
	db, err := s.Open(s.Superuser(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n := text(t, db, "select count(*) from posthorn_message where id = $1", id); n != "1" {
		t.Errorf("message %s: %s rows on the server that can be written", id, n)
	}
}

func TestAStoreWhoseHostsAreAllReadOnlyIsUnavailable(t *testing.T) {
	t.Parallel()
	one := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	setReadOnly(t, one, "on")
	dsn := strings.Replace(one.DSN("postgres", ""), one.Addr(), one.Addr()+",127.0.0.1:1", 1)
	if _, err := postgres.Open(t.Context(), dsn, store.Options{}); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

// A lateBack is an engine whose connections run into a time limit when they go back to a
// savepoint, once.
type lateBack struct {
	store.Engine
	to    string // the statement
	armed *atomic.Bool
}

func (e lateBack) Exclusive(ctx context.Context, fn func(context.Context, store.Conn) error) error {
	return e.Engine.Exclusive(ctx, func(ctx context.Context, c store.Conn) error {
		return fn(ctx, lateConn{Conn: c, engine: e})
	})
}

// A lateConn is a connection of a lateBack.
type lateConn struct {
	store.Conn
	engine lateBack
}

func (c lateConn) Exec(ctx context.Context, stmt string, args ...any) (int64, error) {
	if stmt == c.engine.to && c.engine.armed.CompareAndSwap(true, false) {
		return 0, &pgconn.PgError{Severity: "ERROR", Code: "57014", Message: "canceling statement due to statement timeout"}
	}
	return c.Conn.Exec(ctx, stmt, args...)
}

// Whoever meets a neighbour's setting, and cannot be undone for its time limit, is not to blame.
func TestATimeLimitThatANeighbourLeftIsNobodysFailure(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{
		GroupBudget: time.Minute, SlowEffect: time.Minute, Server: store.ServerOptions{Effects: 1},
	})
	armed := &atomic.Bool{}
	armed.Store(true)
	s.Engine = lateBack{Engine: s.Engine, to: s.SQL.RollbackTo, armed: armed}
	for _, id := range []string{"a", "b"} {
		if err := send(t, s, id); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ds, err := c.Receive(t.Context(), 2)
	if err != nil || len(ds) != 2 {
		t.Fatal(len(ds), err)
	}
	errs := s.Transact(t.Context(), []driver.Unit{
		{Delivery: ds[0], Timeout: patience, Context: t.Context(), Effect: func(ctx context.Context, tx driver.Tx) error {
			_, err := tx.ExecContext(ctx, "set statement_timeout = '17s'")
			return err
		}},
		{Delivery: ds[1], Timeout: patience, Context: t.Context(), Effect: func(ctx context.Context, tx driver.Tx) error {
			var limit string
			if err := tx.QueryRowContext(ctx, "show statement_timeout").Scan(&limit); err != nil || limit == "17s" {
				return fmt.Errorf("the time limit is %s: %w", limit, err)
			}
			return nil
		}},
	})
	if errs[0] != nil || errs[1] != nil || armed.Load() {
		t.Errorf("outcomes %v, not undone %v", errs, armed.Load())
	}
}
