package postgres_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/proxy"
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
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%d\n"+
		"unix_socket_dir=\nauth_type=trust\nauth_file=%s\npool_mode=%s\nserver_idle_timeout=60\n",
		host, serverPort, port, users, mode)
	args := []string{config}
	if os.Getuid() == 0 {
		args = []string{"-u", "nobody", config}
	}
	mustWrite(t, config, text+strings.Join(settings, "\n"))
	runBouncer(t, exec.CommandContext(t.Context(), program, args...))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return addr
		}
	}
	t.Fatal("PgBouncer does not listen")
	return ""
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
