package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// openStore opens a store that is closed at the end of the test.
func openStore(t *testing.T, dsn string, o store.Options) *store.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
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

func TestOnAHealthyServerOnlyTheDiskIsUnknown(t *testing.T) {
	t.Parallel()
	found := examine(t, openStore(t, servers.PostgreSQL(t).DSN(), store.Options{}))
	for id := range found {
		if id == "PG-DISK" {
			found.want(t, id, store.LevelUnknown, "does not tell")
			continue
		}
		found.want(t, id, store.LevelOK, "")
	}
	if len(found) != 12 {
		t.Errorf("%d findings, want 12", len(found))
	}
}

// A fixture breaks a database so that a check must find it.
type fixture struct {
	id       string
	level    store.Level
	evidence string
	breakIt  string // %s is the database
}

func fixtures() []fixture {
	return []fixture{
		{"PG-DURABILITY", store.LevelWarning, "volatile: fsync=on, synchronous_commit=off",
			"alter database %s set synchronous_commit = off"},
		{"PG-ISOLATION", store.LevelWarning, "serializable",
			"alter database %s set default_transaction_isolation = serializable"},
		{"PG-ISOLATION", store.LevelError, "transaction_read_only=on",
			"alter database %s set default_transaction_read_only = on"},
		{"PG-TIMEOUTS", store.LevelWarning, "statement_timeout=1s",
			"alter database %s set statement_timeout = '1s'"},
		{"PG-TIMEOUTS", store.LevelWarning, "idle_in_transaction_session_timeout=1s",
			"alter database %s set idle_in_transaction_session_timeout = '1s'"},
		{"PG-CONNECTIONS", store.LevelError, "the server has 5 for this user",
			"alter database %s connection limit 5"},
	}
}

func TestEachBrokenSettingIsFound(t *testing.T) {
	t.Parallel()
	for _, f := range fixtures() {
		t.Run(f.id+" "+f.evidence, func(t *testing.T) {
			t.Parallel()
			db := servers.PostgreSQL(t)
			if err := openStore(t, db.DSN(), store.Options{}).Close(); err != nil {
				t.Fatal(err)
			}
			if err := db.Server.Exec(fmt.Sprintf(f.breakIt, db.Name)); err != nil {
				t.Fatal(err)
			}
			examine(t, openStore(t, db.DSN(), store.Options{AsIs: true})).want(t, f.id, f.level, f.evidence)
		})
	}
}

func TestAServerThatIsSetUpBadlyIsFound(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Settings: map[string]string{
		"fsync": "off", "autovacuum": "off", "max_connections": "14",
	}})
	var log bytes.Buffer
	dsn := server.DSN("postgres", "")
	found := examine(t, openStore(t, dsn, store.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}))
	found.want(t, "PG-DURABILITY", store.LevelError, "fsync=off")
	found.want(t, "PG-VACUUM", store.LevelError, "autovacuum is off")
	found.want(t, "PG-CONNECTIONS", store.LevelError, "the server has 11 for this user")
	if !strings.Contains(log.String(), "too few connections") {
		t.Errorf("opening the store logged %q, and no warning of the pools", log.String())
	}
	small := store.ServerOptions{Effects: 1, Control: 1, App: 2}
	found = examine(t, openStore(t, dsn, store.Options{AsIs: true, Server: small}))
	if f := found["PG-CONNECTIONS"]; strings.Contains(f.Evidence, "19 for a process") {
		t.Errorf("smaller pools change nothing: %+v", f)
	}
}

func TestTheProcessesThatRunAreCountedAgainstTheServersConnections(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	for worker := range 14 { // two in each process
		_, err := s.Heartbeat(t.Context(), driver.WorkerRecord{
			ID: fmt.Sprint(worker), Host: "h", PID: worker / 2, Started: time.Now(), Queues: []string{"q"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	examine(t, s).want(t, "PG-CONNECTIONS", store.LevelError, "133 with the 7 that run")
}

func TestALostIndexIsFoundAndItsFixMakesItAgain(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t)
	s := openStore(t, db.DSN(), store.Options{})
	for _, breakIt := range []string{
		"drop index posthorn_message_ready",
		"update pg_index set indisvalid = false where indexrelid = 'posthorn_message_ready'::regclass",
	} {
		if _, err := s.DB().ExecContext(t.Context(), breakIt); err != nil {
			t.Fatal(err)
		}
		found := examine(t, s)
		found.want(t, "PG-INDEX", store.LevelError, "posthorn_message_ready")
		fix := "drop index if exists posthorn_message_ready; " + found["PG-INDEX"].Fix
		if _, err := s.DB().ExecContext(t.Context(), fix); err != nil {
			t.Fatalf("the fix %q: %v", fix, err)
		}
		examine(t, s).want(t, "PG-INDEX", store.LevelOK, "")
	}
}

func TestAPendingMigrationIsFoundAndNotRun(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t)
	s := openStore(t, db.DSN(), store.Options{})
	last := "(select max(version) from posthorn_migration)"
	if _, err := s.DB().ExecContext(t.Context(), "delete from posthorn_migration where version = "+last); err != nil {
		t.Fatal(err)
	}
	for range 2 { // looking at it changes nothing
		found := examine(t, openStore(t, db.DSN(), store.Options{AsIs: true}))
		found.want(t, "PG-SCHEMA", store.LevelError, "this program wants")
	}
}

// burn uses transaction numbers up, one for each nested block that writes.
const burn = `do $$ begin
	create temp table burnt () on commit drop;
	for i in 1 .. 100100 loop
		begin insert into burnt default values; exception when division_by_zero then null; end;
	end loop;
end $$`

func TestAnOldSnapshotIsFoundOrUnknownToWhoMayNotSeeIt(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t)
	s := openStore(t, db.DSN(), store.Options{})
	holder := db.Open(t)
	tx, err := holder.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{"set transaction isolation level repeatable read", "select 1"} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	role := db.Name + "_viewer"
	for _, statement := range []string{
		"create role " + role + " login", "grant select on all tables in schema public to " + role,
	} {
		if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = db.Server.Exec("drop role " + role) })
	viewer := openStore(t, db.Server.DSN(role, db.Name), store.Options{AsIs: true})
	examine(t, viewer).want(t, "PG-SNAPSHOT", store.LevelUnknown, "may not see")
	if _, err := s.DB().ExecContext(t.Context(), burn); err != nil {
		t.Fatal(err)
	}
	examine(t, s).want(t, "PG-SNAPSHOT", store.LevelWarning, "idle in transaction")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().ExecContext(t.Context(), "drop owned by "+role); err != nil {
		t.Fatal(err)
	}
}

// deadInserts leaves dead rows: those of a transaction that was rolled back.
const deadInserts = `insert into posthorn_message
	(id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, body)
	select i, 'k', 'q', 0, 0, 0, 0, 0, 0, '' from generate_series(1, 50100) i`

func TestDeadRowsThatNothingRemovesAreFound(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{
		Volatile: true, Settings: map[string]string{"autovacuum_naptime": "1h"},
	})
	s := openStore(t, server.DSN("postgres", ""), store.Options{})
	if err := server.Exec("do $$ begin " + deadInserts + "; raise 'enough'; end $$"); err == nil {
		t.Fatal("the rows stay")
	}
	var found findings
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if found = examine(t, s); found["PG-VACUUM"].Level != store.LevelOK { // the figures come late
			break
		}
	}
	found.want(t, "PG-VACUUM", store.LevelWarning, "50100 dead")
}

func TestAServerWithAnotherClockIsFound(t *testing.T) {
	t.Parallel()
	libraries, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(libraries) == 0 {
		t.Skip("libfaketime is not installed")
	}
	server := testserver.PostgreSQL(t, testserver.Options{
		Volatile: true, Env: []string{"LD_PRELOAD=" + libraries[0], "FAKETIME=+3610s", "FAKETIME_DONT_FAKE_MONOTONIC=1"},
	})
	found := examine(t, openStore(t, server.DSN("postgres", ""), store.Options{}))
	found.want(t, "PG-CLOCK", store.LevelWarning, "1h0m")
}

func TestACheckThatCannotLookIsUnknown(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	if _, err := s.DB().ExecContext(t.Context(), "drop table posthorn_worker"); err != nil {
		t.Fatal(err)
	}
	examine(t, s).want(t, "PG-CONNECTIONS", store.LevelUnknown, "posthorn_worker")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := s.Examine(ctx); err == nil {
		t.Errorf("a run that was cancelled found %v", found)
	}
}

func TestAPoolerInBetweenIsFound(t *testing.T) {
	t.Parallel()
	db := servers.PostgreSQL(t)
	direct := openStore(t, db.DSN(), store.Options{})
	_ = direct.Close()
	for mode, level := range map[string]store.Level{"transaction": store.LevelWarning, "session": store.LevelOK} {
		addr := startBouncer(t, db.Server.Addr(), mode)
		dsn := fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=exec", addr, db.Name)
		examine(t, openStore(t, dsn, store.Options{AsIs: true})).want(t, "PG-POOLER", level, "a pooler")
	}
}

// mustWrite writes a file that others may read: servers do not run as root.
func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
