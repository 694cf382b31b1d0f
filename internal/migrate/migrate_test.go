package migrate_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
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

func load(t *testing.T, fs fstest.MapFS) []migrate.Migration {
	t.Helper()
	ms, err := migrate.Load(fs)
	if err != nil {
		t.Fatal(err)
	}
	return ms
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

// two are the migrations of most tests.
func two(t *testing.T) []migrate.Migration {
	return load(t, files("0001_first.sql", "create table a (x)", "0002_second.sql", "create table b (x)", "README", "no"))
}

func TestLoadReadsMigrationsInOrder(t *testing.T) {
	ms := two(t)
	if len(ms) != 2 || ms[0].Version != 1 || ms[0].Name != "first" || ms[1].Name != "second" ||
		ms[1].SQL != "create table b (x)" {
		t.Errorf("migrations: %+v", ms)
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

func TestApplyRunsWhatIsPendingOnce(t *testing.T) {
	ctx, db, ms := t.Context(), newDB(t), two(t)
	before := time.Now().Truncate(time.Millisecond)
	if n, err := migrate.Apply(ctx, db, ms[:1], false); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := migrate.Apply(ctx, db, ms, true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := migrate.Apply(ctx, db, ms, true); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	status, err := migrate.Status(ctx, db, ms, true)
	if err != nil || len(status) != 2 || status[0].AppliedAt.Before(before) || status[1].AppliedAt.IsZero() {
		t.Errorf("status %+v, %v", status, err)
	}
	if !ms[0].AppliedAt.IsZero() {
		t.Error("Status changed its argument")
	}
	if _, err := db.ExecContext(ctx, "insert into a select x from b"); err != nil {
		t.Errorf("the tables are not there: %v", err)
	}
}

func TestStatusOfADatabaseThatHasNothingYet(t *testing.T) {
	status, err := migrate.Status(t.Context(), newDB(t), two(t), false)
	if err != nil || len(status) != 2 || !status[0].AppliedAt.IsZero() {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	ctx, db, ms := t.Context(), newDB(t), two(t)
	if _, err := migrate.Apply(ctx, db, ms, false); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate.Status(ctx, db, ms[:1], true); !errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("status: %v, want ErrTooNew", err)
	}
	if n, err := migrate.Apply(ctx, db, ms[:1], true); n != 0 || !errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("apply: %d, %v, want ErrTooNew", n, err)
	}
}

func TestFailedMigrationIsNamedAndLeavesNothingInItsTransaction(t *testing.T) {
	ctx, db := t.Context(), newDB(t)
	ms := load(t, files("0001_good.sql", "create table a (x)", "0002_bad.sql", "create nonsense"))
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := migrate.Apply(ctx, tx, ms, false)
	if n != 1 || err == nil || errors.Is(err, migrate.ErrTooNew) {
		t.Errorf("apply: %d, %v", n, err)
	}
	if want := "run migration 0002_bad: "; err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error is %q", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	var tables int
	if err := db.QueryRowContext(ctx, "select count(*) from sqlite_master").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables are left, %v", tables, err)
	}
}
