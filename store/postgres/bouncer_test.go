package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/drivertest"
	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// startBouncer starts PgBouncer before a server, with more settings than the
// mode of its pools, and returns its address. It ends with the test, which is
// skipped where PgBouncer is not installed.
func startBouncer(t *testing.T, server, mode string, settings ...string) string {
	t.Helper()
	program := findBouncer(t)
	port, err := proxy.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	host, serverPort, _ := strings.Cut(server, ":")
	dir, err := os.MkdirTemp("", "bouncer") // that of the test is not open to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	users, config := filepath.Join(dir, "users.txt"), filepath.Join(dir, "bouncer.ini")
	mustWrite(t, users, `"postgres" ""`)
	mustWrite(t, config, fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\n"+
		"listen_port=%d\nunix_socket_dir=\nauth_type=trust\nauth_file=%s\npool_mode=%s\nserver_idle_timeout=5\n"+
		"log_connections=0\nlog_disconnections=0\n%s\n",
		host, serverPort, port, users, mode, strings.Join(settings, "\n")))
	args := []string{config}
	if os.Getuid() == 0 {
		args = []string{"-u", "nobody", config}
	}
	runBouncer(t, exec.CommandContext(t.Context(), program, args...))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	awaitListener(t, addr)
	if diesOfCancelling(t, program) {
		return proxy.New(t, proxy.Uncancelled, addr).Addr()
	}
	return addr
}

func findBouncer(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	t.Skip("PgBouncer is not installed")
	return ""
}

// diesOfCancelling reports whether PgBouncer is 1.18 or older: a request to
// cancel a statement could end it, https://github.com/pgbouncer/pgbouncer/issues/822.
func diesOfCancelling(t *testing.T, program string) bool {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(said), "PgBouncer %d.%d", &major, &minor); err != nil {
		t.Fatalf("%s: %v", said, err)
	}
	return major == 1 && minor < 19
}

// runBouncer runs PgBouncer until the end of the test.
func runBouncer(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("PgBouncer said:\n%s", said.String())
		}
	})
}

func awaitListener(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
	}
	t.Fatal("PgBouncer does not listen")
}

// behind is the address of a database by a pooler.
func behind(pooler, database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", pooler, database)
}

// A pooler that lends sessions for single transactions passes no notifications
// on and keeps no prepared statement: all is found by polling.
func TestPostgreSQLBehindPgBouncerKeepsTheContract(t *testing.T) {
	t.Parallel()
	// A server of its own, whose databases need not be dropped one by one.
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true, Settings: map[string]string{
		"max_connections": "300",
	}})
	pooler, databases := startBouncer(t, server.Addr(), "transaction"), make(chan int, 1)
	databases <- 0
	drivertest.Run(t, func(t *testing.T) drivertest.Opened {
		t.Helper()
		n := <-databases
		databases <- n + 1
		if err := server.Exec(fmt.Sprint("create database behind_", n)); err != nil {
			t.Fatal(err)
		}
		return opened(t, behind(pooler, fmt.Sprint("behind_", n)))
	})
}

func TestWhatAHandlerLeavesDoesNotPassAPooler(t *testing.T) {
	t.Parallel()
	for name, stmt := range map[string]string{
		"setting":            "select set_config('statement_timeout', '31s', false)",
		"setting of its own": "select set_config('shop.tenant', '7', false)",
		"role":               "select set_config('role', 'pg_monitor', false)",
		"advisory lock":      "select pg_advisory_lock(7)",
		"temporary table":    "create temp table leftover (n int)",
		"prepared statement": "prepare leftover as select 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := servers.PostgreSQL(t)
			// One session of the server, so that the next one cannot get another.
			pooler := startBouncer(t, d.Server.Addr(), "transaction", "default_pool_size=1")
			s := openStore(t, behind(pooler, d.Name), store.Options{})
			leaving := func(ctx context.Context, tx driver.Tx) error {
				_, err := tx.ExecContext(ctx, stmt)
				return err
			}
			leaveAndFind(t, s, "shared", driver.Unit{Effect: leaving})
			leaveAndFind(t, s, "alone", driver.Unit{Effect: leaving, Alone: true})
			failing := func(ctx context.Context, tx driver.Tx) error { return errors.Join(leaving(ctx, tx), errOwn) }
			leaveAndFind(t, s, "failed", driver.Unit{Effect: failing})
			leaveAndFind(t, s, "failed-alone", driver.Unit{Effect: failing, Alone: true})
		})
	}
}

// errOwn is a handler's own.
var errOwn = errors.New("no")

// leaveAndFind runs a unit that leaves something in the session, and then a
// handler that looks for it.
func leaveAndFind(t *testing.T, s *store.Store, way string, u driver.Unit) {
	t.Helper()
	if err := send(t, s, "leaves-"+way); err != nil {
		t.Fatal(err)
	}
	_ = outcomeOf(t, s, u) // it may be refused, too
	if err := send(t, s, "finds-"+way); err != nil {
		t.Fatal(err)
	}
	effect(t, s, virgin(t))
}

// virgin is a handler that finds nothing of another one in its session.
func virgin(t *testing.T) func(ctx context.Context, tx driver.Tx) error {
	return func(ctx context.Context, tx driver.Tx) error {
		var found string
		err := tx.QueryRowContext(ctx, `select concat_ws(', ',
			(select 'statement timeout' where current_setting('statement_timeout') <> '0'),
			(select 'tenant' where current_setting('shop.tenant', true) <> ''),
			(select 'role' where current_user <> session_user),
			(select 'lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
			(select 'table' from pg_class where relname = 'leftover'),
			(select 'statement' from pg_prepared_statements where name = 'leftover'))`).Scan(&found)
		if found != "" {
			t.Errorf("the next handler finds the %s of another", found)
		}
		return err
	}
}

func TestSessionSettingsAndAPoolerDoNotGoTogether(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	for name, more := range map[string]string{
		"refused by the pooler":      "",
		"swallowed without an error": "ignore_startup_parameters=statement_timeout",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pooler := startBouncer(t, d.Server.Addr(), "transaction", more)
			s, err := postgres.Open(t.Context(), behind(pooler, d.Name), store.Options{Server: store.ServerOptions{
				Session: map[string]string{"statement_timeout": "31s"},
			}})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, store.ErrSession) {
				t.Errorf("opening returned %v, want %v", err, store.ErrSession)
			}
		})
	}
}
