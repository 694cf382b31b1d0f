package mysql_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

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
	d := servers.MariaDB(t)
	found := examine(t, openStore(t, address(d.Server, d.Name), store.Options{}))
	for id := range found {
		if id == "MYSQL-DISK" {
			found.want(t, id, store.LevelUnknown, "does not tell")
			continue
		}
		found.want(t, id, store.LevelOK, "")
	}
	if len(found) != 11 {
		t.Errorf("%d findings, want 11", len(found))
	}
}

func TestAServerThatIsSetUpBadlyIsFound(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Settings: map[string]string{
		"innodb_flush_log_at_trx_commit": "2", "max_connections": "12", "wait_timeout": "5",
		"idle_transaction_timeout": "2", "max_statement_time": "1", "max_allowed_packet": "1M",
	}})
	dsn := address(server, "test")
	s := openStore(t, dsn, store.Options{})
	found := examine(t, s)
	found.want(t, "MYSQL-DURABILITY", store.LevelWarning, "process-safe: innodb_flush_log_at_trx_commit=2")
	found.want(t, "MYSQL-CONNECTIONS", store.LevelError, "the server has 12 for this user")
	found.want(t, "MYSQL-PACKET", store.LevelWarning, "max_allowed_packet=1048576")
	found.want(t, "MYSQL-TIMEOUTS", store.LevelWarning, "wait_timeout=5s")
	for _, name := range []string{"wait_timeout", "idle_transaction_timeout", "max_statement_time"} {
		if !strings.Contains(found["MYSQL-TIMEOUTS"].Fix, "raise "+name+" to") {
			t.Errorf("the fix leaves %s out: %q", name, found["MYSQL-TIMEOUTS"].Fix)
		}
	}
	if err := server.Exec("set global read_only = 1"); err != nil {
		t.Fatal(err)
	}
	found = examine(t, openStore(t, dsn, store.Options{AsIs: true}))
	found.want(t, "MYSQL-ISOLATION", store.LevelError, "read_only=1")
}

func TestPagesThatAPowerCutMayTearAreFound(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Volatile: true})
	found := examine(t, openStore(t, address(server, "test"), store.Options{}))
	found.want(t, "MYSQL-DURABILITY", store.LevelError, "innodb_doublewrite=0")
}

func TestTheProcessesThatRunAreCountedAgainstTheServersConnections(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	s := openStore(t, address(d.Server, d.Name), store.Options{})
	for worker := range 20 { // two in each process
		_, err := s.Heartbeat(t.Context(), driver.WorkerRecord{
			ID: fmt.Sprint(worker), Host: "h", PID: worker / 2, Started: time.Now(), Queues: []string{"q"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	examine(t, s).want(t, "MYSQL-CONNECTIONS", store.LevelError, "170 with the 10 that run")
}

func TestALostIndexIsFoundAndItsFixMakesItAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, key := range []string{
		"posthorn_message drop key posthorn_message_id", "posthorn_letter drop key posthorn_letter_died",
		"posthorn_letter drop key posthorn_letter_group", "posthorn_letter drop key posthorn_letter_type",
		"posthorn_letter drop key posthorn_letter_class", "posthorn_message drop key posthorn_message_turn",
	} {
		r.exec("alter table " + key)
		found := examine(t, r.store)
		found.want(t, "MYSQL-INDEX", store.LevelError, key[strings.LastIndex(key, " ")+1:])
		r.exec(found["MYSQL-INDEX"].Fix)
		examine(t, r.store).want(t, "MYSQL-INDEX", store.LevelOK, "are there")
	}
}

func TestAPendingMigrationIsFoundAndNotRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec("delete from posthorn_migration order by version desc limit 1")
	for range 2 { // looking at it changes nothing
		s := openStore(t, r.dsn, store.Options{AsIs: true})
		examine(t, s).want(t, "MYSQL-SCHEMA", store.LevelError, "this program wants")
	}
}

// commits makes many transactions whose old rows cannot be purged.
const commits = `begin not atomic
	declare i int default 0;
	while i < 100200 do update test.effect set id = i; set i = i + 1; end while;
end`

func TestAnOldTransactionIsFound(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, testserver.Options{Volatile: true})
	r := newRigAt(t, server, "test", store.Options{})
	r.exec("insert into effect values ('x')")
	holder := r.conn()
	for _, stmt := range []string{
		"set session transaction isolation level repeatable read", "start transaction with consistent snapshot",
	} {
		if _, err := holder.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	examine(t, r.store).want(t, "MYSQL-SNAPSHOT", store.LevelOK, "the oldest transaction")
	if err := server.Exec(commits); err != nil {
		t.Fatal(err)
	}
	examine(t, r.store).want(t, "MYSQL-SNAPSHOT", store.LevelWarning, "the oldest transaction")
	if _, err := holder.ExecContext(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
}

func TestAServerWithAnotherClockIsFound(t *testing.T) {
	t.Parallel()
	libraries, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if len(libraries) == 0 {
		t.Skip("libfaketime is not installed")
	}
	server := testserver.MariaDB(t, testserver.Options{
		Volatile: true, Env: []string{"LD_PRELOAD=" + libraries[0], "FAKETIME=-90m", "FAKETIME_DONT_FAKE_MONOTONIC=1"},
	})
	found := examine(t, openStore(t, address(server, "test"), store.Options{}))
	found.want(t, "MYSQL-CLOCK", store.LevelWarning, "-1h") // and half an hour, or a millisecond less
}

func TestWhoMayNotLookKnowsNothing(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	openStore(t, address(d.Server, d.Name), store.Options{})
	user := d.Name + "_viewer"
	err := d.Server.Exec("create user "+user+"@'127.0.0.1'", "grant select on "+d.Name+".* to "+user+"@'127.0.0.1'")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Server.Exec("drop user " + user + "@'127.0.0.1'") })
	dsn := fmt.Sprintf("mysql://%s@%s/%s", user, d.Server.Addr(), d.Name)
	viewer := openStore(t, dsn, store.Options{AsIs: true})
	examine(t, viewer).want(t, "MYSQL-SNAPSHOT", store.LevelUnknown, "PROCESS")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := viewer.Examine(ctx); err == nil {
		t.Errorf("a run that was cancelled found %v", found)
	}
}
