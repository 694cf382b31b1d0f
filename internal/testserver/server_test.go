package testserver_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/testserver"
)

// starter starts a server of one make.
type starter func(t testserver.Test, o testserver.Options) *testserver.Server

func products() map[string]starter {
	return map[string]starter{"postgresql": testserver.PostgreSQL, "mariadb": testserver.MariaDB}
}

// each runs a test on both makes.
func each(t *testing.T, test func(t *testing.T, start starter)) {
	for name, start := range products() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

func TestDataOutlivesAKillAndAStop(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		s := start(t, testserver.Options{})
		addr := s.Addr()
		must(t, s.Exec("create table shop_row (n int)"))
		for n, down := range []func() error{s.Kill, s.Stop, s.Kill} {
			must(t, s.Exec(fmt.Sprintf("insert into shop_row values (%d)", n)))
			pids := s.Processes()
			must(t, down())
			wantGone(t, pids)
			if err := s.Exec("select 1"); err == nil {
				t.Error("a server that is down answers")
			}
			must(t, s.Start())
			if got := number(t, s, "select count(*) from shop_row"); got != n+1 {
				t.Errorf("%d rows after the start, want %d", got, n+1)
			}
		}
		if s.Addr() != addr {
			t.Errorf("address %s, was %s", s.Addr(), addr)
		}
	})
}

func TestServersOfOneKindStandSideBySide(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		a, b := start(t, testserver.Options{}), start(t, testserver.Options{})
		if a.Addr() == b.Addr() {
			t.Fatalf("both have the address %s", a.Addr())
		}
		must(t, a.Exec("create table only_a (n int)"))
		if err := b.Exec("select * from only_a"); err == nil {
			t.Error("both have the same data")
		}
		must(t, a.Kill())
		must(t, b.Exec("select 1"))
	})
}

func TestAServerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		var pids []int
		var addr, dir string
		t.Run("server", func(t *testing.T) {
			s := start(t, testserver.Options{})
			pids, addr, dir = s.Processes(), s.Addr(), dataOf(t, s)
			if len(pids) == 0 || !exists(dir) {
				t.Fatalf("processes %v, data in %s: the test shows nothing", pids, dir)
			}
			must(t, s.Pause())
		})
		wantGone(t, pids)
		if exists(filepath.Dir(dir)) {
			t.Errorf("%s is left", dir)
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("somebody listens on %s", addr)
		}
	})
}

func TestServersDieWithTheirTestProcess(t *testing.T) {
	t.Parallel()
	for _, start := range products() { // where a server is missing, skip
		start(t, testserver.Options{})
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var pids []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		for _, word := range strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(lines.Text())) {
			pid, err := strconv.Atoi(word)
			must(t, err)
			pids = append(pids, pid)
		}
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if len(pids) < 4 {
		t.Fatalf("the child named the processes %v", pids)
	}
	waitUntil(t, func() bool { return len(living(pids)) == 0 }, func() any { return living(pids) })
}

func TestAPausedServerAnswersWhenItResumes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		s := start(t, testserver.Options{})
		db := open(t, s)
		conn, err := db.Conn(t.Context())
		must(t, err)
		must(t, s.Pause())
		answer := make(chan error, 1)
		go func() {
			_, err := conn.ExecContext(t.Context(), "select 1")
			answer <- err
		}()
		for _, pid := range s.Processes() {
			if state := stateOf(pid); state != "T" && state != "Z" { // one that has just ended cannot stop
				t.Errorf("process %d has the state %q, want T", pid, state)
			}
		}
		select {
		case err := <-answer:
			t.Errorf("a paused server answers: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		must(t, s.Resume())
		must(t, <-answer)
		must(t, conn.Close())
	})
}

func TestAPausedServerCanBeKilledAndStopped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		s := start(t, testserver.Options{})
		for _, down := range []func() error{s.Kill, s.Stop} {
			pids := s.Processes()
			must(t, s.Pause())
			must(t, down())
			wantGone(t, pids)
			must(t, s.Start())
			must(t, s.Exec("select 1"))
		}
	})
}

func TestSettingsReachTheServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		product, name, value, query string
	}{
		{"postgresql", "max_connections", "7", "select current_setting('max_connections')"},
		{"postgresql", "fsync", "off", "select current_setting('fsync')"},
		{"mariadb", "max_connections", "17", "select @@max_connections"},
		{"mariadb", "innodb_flush_log_at_trx_commit", "2", "select @@innodb_flush_log_at_trx_commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := products()[c.product](t, testserver.Options{Settings: map[string]string{c.name: c.value}})
			wantText(t, s, c.query, c.value)
		})
	}
}

func TestDataIsDurableUnlessTheTestSaysOtherwise(t *testing.T) {
	t.Parallel()
	for _, volatile := range []bool{false, true} {
		fsync, flush := "on", "1"
		if volatile {
			fsync, flush = "off", "0"
		}
		o := testserver.Options{Volatile: volatile}
		s := testserver.PostgreSQL(t, o)
		wantText(t, s, "select current_setting('fsync')", fsync)
		wantText(t, s, "select current_setting('synchronous_commit')", fsync)
		wantText(t, testserver.MariaDB(t, o), "select @@innodb_flush_log_at_trx_commit", flush)
	}
}

func TestTheEnvironmentReachesTheServer(t *testing.T) {
	t.Parallel()
	s := testserver.MariaDB(t, testserver.Options{Env: []string{"TZ=UTC-5:42"}})
	wantText(t, s, "select timediff(now(), utc_timestamp())", "05:42:00")
}

func TestAGivenDirectoryIsKeptAndUsedAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		dir, err := os.MkdirTemp("/tmp", "posthorn-given-")
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		must(t, os.Chmod(dir, 0o755))
		t.Run("first", func(t *testing.T) {
			must(t, start(t, testserver.Options{Dir: dir}).Exec("create table kept (n int)"))
		})
		s := start(t, testserver.Options{Dir: dir})
		if got := number(t, s, "select count(*) from kept"); got != 0 {
			t.Errorf("%d rows, want 0", got)
		}
	})
}

func TestUsersComeInWithoutAPassword(t *testing.T) {
	t.Parallel()
	s := servers.PostgreSQL(t)
	must(t, s.Server.Exec("create role producer login"))
	t.Cleanup(func() { must(t, s.Server.Exec("drop role producer")) })
	db, err := s.Server.Open("producer", s.Name)
	must(t, err)
	wantUser(t, db, "select current_user", "producer")

	m := servers.MariaDB(t)
	must(t, m.Server.Exec("create user producer@127.0.0.1", "grant select on "+m.Name+".* to producer@127.0.0.1"))
	t.Cleanup(func() { must(t, m.Server.Exec("drop user producer@127.0.0.1")) })
	db, err = sql.Open("mysql", m.Server.DSN("producer", m.Name))
	must(t, err)
	wantUser(t, db, "select current_user()", "producer@127.0.0.1")
}

func TestSharedServersGiveEachTestAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	for range 2 {
		for _, make := range []func(testserver.Test) *testserver.Database{servers.PostgreSQL, servers.MariaDB} {
			_, err := make(t).Open(t).Exec("create table here (n int)")
			must(t, err)
		}
	}
	if a, b := servers.PostgreSQL(t), servers.PostgreSQL(t); a.Server != b.Server || a.Name == b.Name {
		t.Errorf("databases %s of %p and %s of %p", a.Name, a.Server, b.Name, b.Server)
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, start starter) {
		s := start(t, testserver.Options{})
		must(t, s.Kill())
		l, err := net.Listen("tcp", s.Addr())
		must(t, err)
		defer l.Close()
		err = s.Start()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(err.Error(), "ddress already in use") {
			t.Errorf("error %v", err)
		}
		must(t, l.Close())
		must(t, s.Start())
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, s *testserver.Server) *sql.DB {
	t.Helper()
	db, err := s.Open(s.Superuser(), "")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func text(t *testing.T, s *testserver.Server, query string) string {
	t.Helper()
	var got string
	must(t, open(t, s).QueryRowContext(t.Context(), query).Scan(&got))
	return got
}

func number(t *testing.T, s *testserver.Server, query string) int {
	t.Helper()
	n, err := strconv.Atoi(text(t, s, query))
	must(t, err)
	return n
}

func wantText(t *testing.T, s *testserver.Server, query, want string) {
	t.Helper()
	if got := text(t, s, query); got != want {
		t.Errorf("%s: %q, want %q", query, got, want)
	}
}

func dataOf(t *testing.T, s *testserver.Server) string {
	t.Helper()
	query := "show data_directory"
	if s.Superuser() == "root" {
		query = "select @@datadir"
	}
	return filepath.Clean(text(t, s, query))
}

// wantUser asks a database who has come in.
func wantUser(t *testing.T, db *sql.DB, query, want string) {
	t.Helper()
	defer db.Close()
	var got string
	must(t, db.QueryRowContext(t.Context(), query).Scan(&got))
	if got != want {
		t.Errorf("user %q, want %q", got, want)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// stateOf is the state of a process as the system writes it, "" if it is gone.
func stateOf(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || len(out) == 0 {
		return ""
	}
	return string(out[:1])
}

func living(pids []int) (alive []int) {
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil && stateOf(pid) != "Z" && stateOf(pid) != "" {
			alive = append(alive, pid)
		}
	}
	return alive
}

func wantGone(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) == 0 {
		t.Error("no process was named")
	}
	if alive := living(pids); len(alive) > 0 {
		t.Errorf("processes %v live on", alive)
	}
}

func waitUntil(t *testing.T, yes func() bool, what func() any) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute there is still: %v", what())
		}
	}
}
