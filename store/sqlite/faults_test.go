package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// A provocation makes SQLite answer with an error.
type provocation struct {
	name  string
	want  store.Fault
	class driver.Class // that Store.Classify gives a handler's error
	by    func(t *testing.T, s *store.Store) error
}

// conn is a connection of the application; it does not wait for locks.
func conn(t *testing.T, s *store.Store) *sql.Conn {
	t.Helper()
	c, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	must(t, c, `pragma busy_timeout = 0`)
	return c
}

// must runs statements that are right.
func must(t *testing.T, c *sql.Conn, statements ...string) {
	t.Helper()
	for _, stmt := range statements {
		if _, err := c.ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
}

// sqls are statements of one connection, of which the last is in error.
func sqls(statements ...string) func(*testing.T, *store.Store) error {
	return func(t *testing.T, s *store.Store) error {
		t.Helper()
		c, last := conn(t, s), len(statements)-1
		must(t, c, statements[:last]...)
		_, err := c.ExecContext(t.Context(), statements[last])
		return err
	}
}

// provocations are all those that one can have without a fault injector.
func provocations() []provocation {
	const ours, own = driver.ClassTransient, driver.Class("")
	return []provocation{
		{"busy", store.FaultLockTimeout, ours, func(t *testing.T, s *store.Store) error {
			c := conn(t, s)
			must(t, c, `begin immediate`)
			defer must(t, c, `rollback`)
			return sqls(`begin immediate`)(t, s)
		}},
		{"old snapshot", store.FaultSerialization, ours, oldSnapshot},
		{"full", store.FaultDiskFull, ours, sqls(`pragma max_page_count = 1`,
			`insert into piece values (9, 9, zeroblob(10000000))`)},
		{"read-only", store.FaultReadOnly, ours, sqls(`pragma query_only = 1`, `insert into piece values (9, 9, 'c')`)},
		{"no database", store.FaultStorage, ours, attach(func(path string) error {
			return os.WriteFile(path, make([]byte, 8192), 0o600)
		})},
		{"no directory", store.FaultStorage, ours, attach(func(path string) error { return os.Mkdir(path, 0o700) })},
		{"unique", store.FaultUnique, own, sqls(`insert into piece values (9, 1, 'c')`)},
		{"primary key", store.FaultUnique, own, sqls(`insert into piece values (1, 9, 'c')`)},
		{"not null", store.FaultNotNull, own, sqls(`insert into piece values (9, null, 'c')`)},
		{"check", store.FaultConstraint, own, sqls(`insert into piece values (9, -1, 'c')`)},
		{"foreign key", store.FaultConstraint, own, sqls(`pragma foreign_keys = 1`, `insert into child values (77)`)},
		{"no integer", store.FaultValue, own, sqls(`insert into piece values ('c', 9, 'c')`)},
		{"wrong value", store.FaultValue, own, sqls(`insert into child values ('c')`)},
		{"too long", store.FaultTooLong, own, sqls(`select zeroblob(2000000000)`)},
		{"syntax", store.FaultStatement, own, sqls(`this is no statement`)},
		{"no table", store.FaultStatement, own, sqls(`select * from nowhere`)},
		{"cancelled", "", own, cancelled},
	}
}

// oldSnapshot is the error of one that would write after it has read what
// somebody else has changed since.
func oldSnapshot(t *testing.T, s *store.Store) error {
	t.Helper()
	late := conn(t, s)
	must(t, late, `begin`, `create temp table seen as select * from piece`)
	exec(t, s, `insert into piece values (7, 7, 'g')`)
	_, err := late.ExecContext(t.Context(), `insert into piece values (8, 8, 'h')`)
	must(t, late, `rollback`)
	return err
}

// attach is the error of attaching what is no database.
func attach(prepare func(path string) error) func(*testing.T, *store.Store) error {
	return func(t *testing.T, s *store.Store) error {
		t.Helper()
		path := filepath.Join(t.TempDir(), "other.db")
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		return sqls(`attach '`+path+`' as other`)(t, s)
	}
}

// cancelled is the error of a statement whose context has ended: it is not the
// database's.
func cancelled(t *testing.T, s *store.Store) error {
	t.Helper()
	c := conn(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.ExecContext(ctx, `select 1`)
	return err
}

func TestEachErrorOfSQLiteHasItsFault(t *testing.T) {
	t.Parallel()
	for _, p := range provocations() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, newPath(t))
			exec(t, s, `create table piece (id integer primary key, n int not null unique check (n >= 0), name text)`)
			exec(t, s, `create table child (piece int references piece) strict`)
			exec(t, s, `insert into piece values (1, 1, 'a')`)
			err := p.by(t, s)
			if err == nil || sqlite.Fault(err) != p.want || s.Classify(err) != p.class {
				t.Errorf("error %v has fault %q and class %q, want %q and %q",
					err, sqlite.Fault(err), s.Classify(err), p.want, p.class)
			}
		})
	}
}
