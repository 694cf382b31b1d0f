package sqlite_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// openAsIs opens a store that is closed at the end of the test.
func openAsIs(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dsn, store.Options{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// findings are those of a store, by their checks.
type findings map[string]store.Finding

func examine(t *testing.T, s *store.Store) findings {
	t.Helper()
	found, err := s.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := findings{}
	for _, f := range found {
		byID[f.ID] = f
		if (f.Level == store.LevelOK) != (f.Fix == "") || f.Evidence == "" {
			t.Errorf("a finding needs evidence, and a fix unless it is ok: %+v", f)
		}
	}
	return byID
}

// want checks the level and a part of the evidence of one finding.
func (fs findings) want(t *testing.T, id string, level store.Level, evidence string) {
	t.Helper()
	if f := fs[id]; f.Level != level || !strings.Contains(f.Evidence, evidence) {
		t.Errorf("%s is %q: %q, want %q with %q", id, f.Level, f.Evidence, level, evidence)
	}
}

func TestAHealthyStoreHasNothingToRepair(t *testing.T) {
	path := newPath(t)
	open(t, path)
	found := examine(t, openAsIs(t, "sqlite:"+path))
	for id := range found {
		if id == "SQLITE-FILESYSTEM" || id == "SQLITE-DISK" { // where the tests run
			continue
		}
		found.want(t, id, store.LevelOK, "")
	}
	if len(found) != 8 {
		t.Errorf("%d findings, want 8", len(found))
	}
}

func TestSynchronousNormalIsAWarning(t *testing.T) {
	examine(t, open(t, newPath(t))).want(t, "SQLITE-DURABILITY", store.LevelWarning, "process-safe: synchronous=1")
}

func TestALostIndexIsFoundAndItsFixMakesItAgain(t *testing.T) {
	s := open(t, newPath(t))
	exec(t, s, "drop index posthorn_message_lease")
	found := examine(t, s)
	found.want(t, "SQLITE-INDEX", store.LevelError, "posthorn_message_lease")
	exec(t, s, found["SQLITE-INDEX"].Fix)
	examine(t, s).want(t, "SQLITE-INDEX", store.LevelOK, "")
}

func TestAPendingMigrationIsFoundAndNotRun(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	exec(t, s, "delete from posthorn_migration where version = (select max(version) from posthorn_migration)")
	for range 2 { // looking at it changes nothing
		examine(t, openAsIs(t, "sqlite:"+path)).want(t, "SQLITE-SCHEMA", store.LevelError, "this program wants")
	}
}

func TestAStoreOfANewerProgramIsAnError(t *testing.T) {
	path := newPath(t)
	exec(t, open(t, path), "insert into posthorn_migration values (999, 'future', 0)")
	examine(t, openAsIs(t, "sqlite:"+path)).want(t, "SQLITE-SCHEMA", store.LevelError, "newer")
}

func TestALogThatAReaderKeepsFromBeingEmptiedIsFound(t *testing.T) {
	s := open(t, newPath(t))
	exec(t, s, "create table big (b blob)")
	reader, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, stmt := range []string{"begin deferred", "select * from big"} {
		if _, err := reader.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	for range 9 {
		exec(t, s, "insert into big values (zeroblob(16000000))")
	}
	examine(t, s).want(t, "SQLITE-WAL", store.LevelWarning, "MiB")
	if _, err := reader.ExecContext(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	exec(t, s, "pragma wal_checkpoint(truncate)")
	examine(t, s).want(t, "SQLITE-WAL", store.LevelOK, "0.0 MiB")
}

func TestADamagedFileIsFound(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	exec(t, s, "create table victim (id integer primary key, t text)")
	for i := range 200 {
		exec(t, s, fmt.Sprintf("insert into victim values (%d, '%s')", i, strings.Repeat("x", 200)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), info.Size()-4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	examine(t, openAsIs(t, "sqlite:"+path)).want(t, "SQLITE-INTEGRITY", store.LevelError, "quick_check")
}

func TestSessionSettingsAreRefusedWithoutAServer(t *testing.T) {
	o := store.Options{Server: store.ServerOptions{Session: map[string]string{"statement_timeout": "1s"}}}
	if _, err := sqlite.Open(t.Context(), "sqlite:"+newPath(t), o); err == nil {
		t.Error("a setting that has no effect was taken")
	}
}
