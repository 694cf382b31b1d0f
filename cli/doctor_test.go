package cli_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/internal/testserver"
)

// told checks that a line of doctor's output matches.
func told(t *testing.T, out, line string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)` + line).MatchString(out) {
		t.Errorf("doctor does not say %q:\n%s", line, out)
	}
}

func TestDoctorExaminesAPostgreSQLStore(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true, Settings: map[string]string{
		"max_connections": "10", "superuser_reserved_connections": "2",
	}})
	store := "store: " + server.DSN("postgres", "") + "\n"
	out, code := runWith(t, store, "doctor")
	if code != 69 {
		t.Errorf("without a store the exit code is %d, want 69", code)
	}
	told(t, out, `^STORE-OPEN +error +there is no store`)

	if _, code := runWith(t, store, "migrate", "up"); code != 0 {
		t.Fatal("the store cannot be made")
	}
	out, code = runWith(t, store+"programs: {p: {processes: 4, concurrency: 100}}\n", "doctor")
	if code != 1 {
		t.Errorf("with broken settings the exit code is %d, want 1", code)
	}
	told(t, out, `^PG-DURABILITY +error .*fsync=off`)
	told(t, out, `^PG-CONNECTIONS +error .*the server has 8 for this user`)
	told(t, out, `^PG-DISK +unknown `)
	told(t, out, `^CONFIG-CONCURRENCY +warning +400 handlers at once, on 4 connections`)
	told(t, out, `^CONFIG-CONCURRENCY: raise pool.effects to 50,`)

	out, code = runWith(t, store+"session: {statement_timeuot: 1s}\n", "doctor")
	if code != 69 {
		t.Errorf("with a setting that the server refuses the exit code is %d, want 69", code)
	}
	told(t, out, `^STORE-OPEN +error .*statement_timeuot`)

	occupy(t, server, 10)
	out, code = runWith(t, store, "doctor")
	if code != 69 {
		t.Errorf("when the server is full the exit code is %d, want 69", code)
	}
	told(t, out, `^STORE-OPEN +error .*too many clients`)
}

// occupy takes connections until the end of the test.
func occupy(t *testing.T, server *testserver.Server, n int) {
	t.Helper()
	db, err := server.Open(server.Superuser(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	var conns []*sql.Conn
	for range n {
		conn, err := db.Conn(t.Context())
		if err != nil {
			break // full
		}
		conns = append(conns, conn)
	}
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
}

// runWith runs a command with a configuration.
func runWith(t *testing.T, config string, args ...string) (stdout string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "posthorn.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	code = cli.Run(context.Background(), cli.App{Name: "posthorn"}, cli.IO{
		Args: append(args, "--config", file), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
	})
	return fmt.Sprint(out.String(), errs.String()), code
}
