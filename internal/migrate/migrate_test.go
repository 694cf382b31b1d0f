package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // any database will do

	"github.com/posthorn/posthorn/internal/migrate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files are migration files by name.
func files(pairs ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fs[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fs
}

func newDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "m.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// schemaOf is a schema with these migrations, in SQLite.
func schemaOf(pairs ...string) migrate.Schema {
	fs := fstest.MapFS{}
	for name, file := range files(pairs...) {
		fs["migrations/"+name] = file
	}
	return migrate.Schema{
		Files:  fs,
		Exists: "select count(*) > 0 from sqlite_master where name = 'posthorn_migration'",
		Alone: func(ctx context.Context, conn *sql.Conn, fn func(migrate.Conn) error) error {
			tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
			if err != nil {
				return err
			}
			if err := fn(tx); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			return tx.Commit()
		},
	}
}

// one and two are the migrations of most tests.
func one() migrate.Schema { return schemaOf("0001_first.sql", "create table a (x)") }

func two() migrate.Schema {
	return schemaOf("0001_first.sql", "create table a (x)", "0002_second.sql", "create table b (x)", "README", "no")
}

// forward brings a database forward.
func forward(t *testing.T, db *sql.DB, s migrate.Schema) (int, error) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return s.Forward(t.Context(), conn)
}

func TestLoadReadsMigrationsInOrder(t *testing.T) {
	ms, err := migrate.Load(files(
		"0001_first.sql", "create table a (x)", "0002_second.sql", "create table b (x)", "no", ""))
	if err != nil || len(ms) != 2 || ms[0].Version != 1 || ms[0].Name != "first" || ms[1].Name != "second" ||
		ms[1].SQL != "create table b (x)" {
		t.Errorf("migrations: %+v, %v", ms, err)
	}
}

func TestLoadRefusesAGapADoubleAndANumberless(t *testing.T) {
	for _, fs := range []fstest.MapFS{
		files("0002_second.sql", ""), files("0001_a.sql", "", "0003_c.sql", ""), files("0001_a.sql", "", "0001_b.sql", ""),
		files("first.sql", ""),
	} {
		if _, err := migrate.Load(fs); err == nil {
			t.Errorf("%v is accepted", fs)
		}
	}
}

func TestForwardRunsWhatIsPendingOnce(t *testing.T) {
	ctx, db := t.Context(), newDB(t)
	before := time.Now().Truncate(time.Millisecond)
	for i, s := range []migrate.Schema{one(), two(), two()} {
		if n, err := forward(t, db, s); n != []int{1, 1, 0}[i] || err != nil {
			t.Fatal(i, n, err)
		}
	}
	status, err := two().Status(ctx, db)
	if err != nil || len(status) != 2 || status[0].AppliedAt.Before(before) || status[1].AppliedAt.IsZero() {
		t.Errorf("status %+v, %v", status, err)
	}
	if _, err := db.ExecContext(ctx, "insert into a select x from b"); err != nil {
		t.Errorf("the tables are not there: %v", err)
	}
}

func TestStatusOfADatabaseThatHasNothingYet(t *testing.T) {
	status, err := two().Status(t.Context(), newDB(t))
	if err != nil || len(status) != 2 || !status[0].AppliedAt.IsZero() {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	ctx, db := t.Context(), newDB(t)
	if _, err := forward(t, db, two()); err != nil {
		t.Fatal(err)
	}
	if _, err := one().Status(ctx, db); !errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("status: %v, want ErrTooNew", err)
	}
	if n, err := forward(t, db, one()); n != 0 || !errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("forward: %d, %v, want ErrTooNew", n, err)
	}
}

func TestFailedMigrationIsNamedAndLeavesNothingInItsTransaction(t *testing.T) {
	ctx, db := t.Context(), newDB(t)
	n, err := forward(t, db, schemaOf("0001_good.sql", "create table a (x)", "0002_bad.sql", "create nonsense"))
	if n != 1 || err == nil || errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("forward: %d, %v", n, err)
	}
	if want := "run migration 0002_bad: "; err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error is %q", err)
	}
	var tables int
	if err := db.QueryRowContext(ctx, "select count(*) from sqlite_master").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables are left, %v", tables, err)
	}
}

func TestAStoresOwnNamesAreUsedEverywhere(t *testing.T) {
	ctx, db := t.Context(), newDB(t)
	s := schemaOf("0001_first.sql", "create table posthorn_message (x)")
	s.Names = func(stmt string) string { return strings.ReplaceAll(stmt, "posthorn_", "jobs_") }
	if n, err := forward(t, db, s); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	status, err := s.Status(ctx, db)
	if err != nil || status[0].AppliedAt.IsZero() || status[0].SQL != "create table jobs_message (x)" {
		t.Errorf("status %+v, %v", status, err)
	}
	if _, err := db.ExecContext(ctx, "select x, version from jobs_message, jobs_migration"); err != nil {
		t.Error(err)
	}
}
