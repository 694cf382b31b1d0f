package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// A scene is a server on which errors are provoked.
type scene struct {
	*testing.T
	server *testserver.Server
	db     *sql.DB         // of the superuser
	ctx    context.Context //nolint:containedctx // of the test
}

// newScene makes tables for provocations in a database.
func newScene(t *testing.T, server *testserver.Server, database string) *scene {
	t.Helper()
	db, err := server.Open(server.Superuser(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := &scene{t, server, db, ctx}
	err = s.run(db, `create table part (id int primary key, n smallint not null check (n >= 0), name varchar(3))`,
		`insert into part values (1, 1, 'a'), (2, 2, 'b')`, `create table child (part int references part)`)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs statements on one connection, up to the first error.
func (s *scene) run(db *sql.DB, statements ...string) error {
	s.Helper()
	c := s.conn(db)
	defer c.Close()
	for _, stmt := range statements {
		if _, err := c.ExecContext(s.ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}

// conn is a connection that is closed at the end of the test.
func (s *scene) conn(db *sql.DB) *sql.Conn {
	s.Helper()
	c, err := db.Conn(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c
}

// begin begins a transaction on a connection of its own and changes a row in it.
func (s *scene) begin(how string, row int) *sql.Conn {
	s.Helper()
	c := s.conn(s.db)
	for _, stmt := range []string{how, fmt.Sprintf("update part set n = n + 1 where id = %d", row)} {
		if _, err := c.ExecContext(s.ctx, stmt); err != nil {
			s.Fatal(err)
		}
	}
	return c
}

// during runs a statement while something happens to its connection.
func (s *scene) during(stmt string, happens func(pid int) error) error {
	s.Helper()
	c := s.conn(s.db)
	var pid int
	if err := c.QueryRowContext(s.ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		s.Fatal(err)
	}
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { _, err = c.ExecContext(s.ctx, stmt) })
	time.Sleep(100 * time.Millisecond)
	if failed := happens(pid); failed != nil {
		s.Fatal(failed)
	}
	wg.Wait()
	return err
}

// A provocation makes a real server answer with an error.
type provocation struct {
	name  string
	want  store.Fault
	class driver.Class // that Store.Classify gives a handler's error
	by    func(s *scene) error
}

// sqls are statements of which the last is in error.
func sqls(statements ...string) func(*scene) error {
	return func(s *scene) error {
		s.Helper()
		last := len(statements) - 1
		c := s.conn(s.db)
		defer c.Close()
		for _, stmt := range statements[:last] {
			if _, err := c.ExecContext(s.ctx, stmt); err != nil {
				s.Fatalf("%s: %v", stmt, err)
			}
		}
		_, err := c.ExecContext(s.ctx, statements[last])
		return err
	}
}

// harmless are the provocations that leave the server as it was.
func harmless() []provocation {
	const ours, own = driver.ClassTransient, driver.Class("")
	return []provocation{
		{"deadlock", store.FaultDeadlock, ours, deadlock},
		{"serialization failure", store.FaultSerialization, ours, serialization},
		{"lock timeout", store.FaultLockTimeout, ours, func(s *scene) error {
			s.begin("begin", 1)
			return sqls("set lock_timeout = '50ms'", "update part set n = 5 where id = 1")(s)
		}},
		{"locked, nowait", store.FaultLockTimeout, ours, func(s *scene) error {
			s.begin("begin", 1)
			return sqls("select * from part where id = 1 for update nowait")(s)
		}},
		{"read-only", store.FaultReadOnly, ours, sqls("begin read only", "insert into part values (9, 9, 'c')")},
		{"idle", store.FaultIdleTimeout, ours, idle},
		{"terminated", store.FaultShutdown, ours, func(s *scene) error {
			return s.during("select pg_sleep(20)", func(pid int) error {
				return s.server.Exec(fmt.Sprintf("select pg_terminate_backend(%d)", pid))
			})
		}},
		{"temporary files over their limit", store.FaultLimit, own, sqls("set work_mem = '64kB'",
			"set temp_file_limit = 0", "select count(*) from (select g from generate_series(1, 100000) g order by -g) x")},
		{"unique", store.FaultUnique, own, sqls("insert into part values (1, 1, 'a')")},
		{"too long", store.FaultTooLong, own, sqls("insert into part values (9, 1, 'abcd')")},
		{"out of range", store.FaultOutOfRange, own, sqls("insert into part values (9, 40000, 'a')")},
		{"wrong value", store.FaultValue, own, sqls("select 'abc'::int")},
		{"not null", store.FaultNotNull, own, sqls("insert into part values (9, null, 'a')")},
		{"check", store.FaultConstraint, own, sqls("insert into part values (9, -1, 'a')")},
		{"foreign key", store.FaultConstraint, own, sqls("insert into child values (77)")},
		{"syntax", store.FaultSyntax, own, sqls("this is no statement")},
		{"no function", store.FaultSyntax, own, sqls("select nothing(1)")},
		{"no table", store.FaultNoTable, own, sqls("select * from nowhere")},
		{"no column", store.FaultNoTable, own, sqls("select nothing from part")},
		{"permission", store.FaultPermission, own, sqls("set role pg_monitor", "select * from part")},
		{"statement timeout", store.FaultStatementTimeout, own,
			sqls("set statement_timeout = '50ms'", "select pg_sleep(20)")},
		{"cancelled", store.FaultStatementTimeout, own, func(s *scene) error {
			return s.during("select pg_sleep(20)", func(pid int) error {
				return s.server.Exec(fmt.Sprintf("select pg_cancel_backend(%d)", pid))
			})
		}},
		{"aborted", store.FaultAborted, own, func(s *scene) error {
			c := s.conn(s.db)
			defer c.Close()
			_, _ = c.ExecContext(s.ctx, "begin; select 1/0")
			_, err := c.ExecContext(s.ctx, "select 1")
			return err
		}},
		{"unnamed", "", own, sqls("do $$ begin raise exception 'no' using errcode = 'P0001'; end $$")},
	}
}

// deadlock is the error of the one of two transactions that gives way.
func deadlock(s *scene) error {
	s.Helper()
	one, two := s.begin("begin; set local deadlock_timeout = '50ms'", 1), s.begin("begin", 2)
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		_, err = two.ExecContext(s.ctx, "update part set n = 0 where id = 1")
		if err == nil {
			_, err = two.ExecContext(s.ctx, "rollback")
		}
	})
	_, err1 := one.ExecContext(s.ctx, "update part set n = 0 where id = 2")
	_, _ = one.ExecContext(s.ctx, "rollback")
	wg.Wait()
	return errors.Join(err1, err)
}

// serialization is the error of one that would change what another has changed
// since it began.
func serialization(s *scene) error {
	s.Helper()
	late := s.begin("begin isolation level repeatable read", 2)
	if err := s.run(s.db, "update part set n = n + 1 where id = 1"); err != nil {
		s.Fatal(err)
	}
	_, err := late.ExecContext(s.ctx, "update part set n = n + 1 where id = 1")
	return err
}

// idle is the error of a session that was left alone for too long. The server
// has said it before the next statement comes.
func idle(s *scene) error {
	s.Helper()
	c := s.conn(s.db)
	defer c.Close()
	for _, stmt := range []string{"set idle_in_transaction_session_timeout = '20ms'", "begin"} {
		if _, err := c.ExecContext(s.ctx, stmt); err != nil {
			s.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	_, err := c.ExecContext(s.ctx, "select 1")
	return err
}

func TestEachErrorOfTheServerHasItsFault(t *testing.T) {
	t.Parallel()
	for _, p := range harmless() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			d := servers.PostgreSQL(t)
			st := openStore(t, d.DSN(), store.Options{})
			p.check(st, newScene(t, d.Server, d.Name))
		})
	}
}

// check provokes the error and looks it up.
func (p provocation) check(st *store.Store, s *scene) {
	s.Helper()
	err := p.by(s)
	if err == nil || postgres.Fault(err) != p.want || st.Classify(err) != p.class {
		s.Errorf("%s: error %v has fault %q and class %q, want %q and %q",
			p.name, err, postgres.Fault(err), st.Classify(err), p.want, p.class)
	}
}

func TestAServerThatIsFullOrGoneGivesTheStoresFault(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true, Settings: map[string]string{
		"max_connections": "20", "superuser_reserved_connections": "10", "autovacuum": "off",
	}})
	st := openStore(t, server.DSN(server.Superuser(), ""), store.Options{Server: store.ServerOptions{Effects: 2}})
	s := newScene(t, server, "")
	for _, p := range []provocation{
		{"too many connections", store.FaultTooManyConnections, driver.ClassTransient, tooMany},
		{"disk full", store.FaultDiskFull, driver.ClassTransient, diskFull},
		{"stopped", store.FaultShutdown, driver.ClassTransient, func(s *scene) error {
			return s.during("select pg_sleep(20)", func(int) error { return s.server.Stop() })
		}},
		{"no server", store.FaultConnectionLost, driver.ClassTransient, func(s *scene) error {
			return s.db.PingContext(s.ctx)
		}},
		{"killed", store.FaultConnectionLost, driver.ClassTransient, func(s *scene) error {
			if err := s.server.Start(); err != nil {
				s.Fatal(err)
			}
			return s.during("select pg_sleep(20)", func(int) error { return s.server.Kill() })
		}},
	} {
		p.check(st, s)
	}
}

// tooMany is what one gets who is let in no more.
func tooMany(s *scene) error {
	s.Helper()
	if err := s.server.Exec("create role hog login"); err != nil {
		s.Fatal(err)
	}
	hog, err := s.server.Open("hog", "postgres")
	if err != nil {
		s.Fatal(err)
	}
	defer hog.Close()
	for range 30 {
		c, err := hog.Conn(s.ctx)
		if err != nil {
			return err
		}
		defer c.Close()
	}
	return nil
}

// diskFull fills a small disk, where one can be had.
func diskFull(s *scene) error {
	s.Helper()
	dir, err := s.server.SmallDisk(4 << 20)
	if err != nil {
		s.Logf("the table is checked without a full disk: %v", err)
		return &pgconn.PgError{Code: "53100", Severity: "ERROR"}
	}
	err = s.server.Exec("create tablespace small location '"+dir+"'", "create table big (x text) tablespace small")
	if err != nil {
		s.Fatal(err)
	}
	return s.run(s.db, "insert into big select repeat(md5(g::text), 30) from generate_series(1, 100000) g")
}

func TestAHandlerWithoutTheRightFailsByItself(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	super := openStore(t, server.DSN(server.Superuser(), ""), store.Options{})
	s := newScene(t, server, "")
	err := s.run(super.DB(), "create role clerk login", "grant usage, create on schema public to clerk",
		"grant all on all tables in schema public to clerk", "grant usage on all sequences in schema public to clerk",
		"revoke all on part from clerk")
	if err != nil {
		t.Fatal(err)
	}
	st := openStore(t, server.DSN("clerk", "postgres"), store.Options{})
	if err := send(t, st, "m"); err != nil {
		t.Fatal(err)
	}
	err = outcome(t, st, func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into part values (9, 9, 'c')")
		return err
	})
	if postgres.Fault(err) != store.FaultPermission || st.Classify(err) != "" {
		t.Errorf("error %v has fault %q and class %q, want %q and none", err, postgres.Fault(err), st.Classify(err),
			store.FaultPermission)
	}
}
