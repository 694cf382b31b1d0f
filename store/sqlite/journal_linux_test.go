package sqlite_test

import (
	"database/sql"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/posthorn/posthorn/internal/tap"
)

// asJournalist makes the test binary a process that can open no more files: it says what to do there.
const asJournalist = "POSTHORN_TEST_JOURNAL"

// What a span or a claim changes could be kept in a file, to undo it. How much is kept in memory is settled for a
// process before it uses SQLite, so each case has its own.
func TestSpansAndClaimsNeedNoFiles(t *testing.T) {
	t.Parallel()
	for name, needs := range map[string]bool{
		"span":        false,
		"late, span":  true, // SQLite was used before: this shows that a file would be noticed
		"late, claim": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestJournalist$", "-test.v")
			cmd.Env = append(os.Environ(), asJournalist+"="+name, tap.Env+"=") // what is kept there needs a file
			said, err := cmd.CombinedOutput()
			missed := strings.Contains(string(said), "unable to open database file")
			if missed != needs || (err != nil) != needs {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

// TestJournalist is that process. Else it does nothing.
func TestJournalist(t *testing.T) {
	t.Parallel()
	name := os.Getenv(asJournalist)
	if name == "" {
		return
	}
	if name != "span" {
		db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "own.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, newPath(t))
	const n = 400
	send(t, s, n+1)
	exec(t, s, "update posthorn_message set body = zeroblob(200)")
	c := consume(t, s)
	receive(t, c, 1)
	defer noMoreFiles(t)()
	if name == "late, claim" {
		if ds := receive(t, c, n); len(ds) != n {
			t.Errorf("%d of %d were claimed", len(ds), n)
		}
		return
	}
	exec(t, s, "begin; savepoint span; update posthorn_message set body = randomblob(200); release span; commit")
}

// noMoreFiles takes all the file descriptors that there may be, until done is called.
func noMoreFiles(t *testing.T) (done func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: min(200, was.Max), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for range 1000 {
		fd, err := syscall.Dup(0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	return func() {
		for _, fd := range taken {
			_ = syscall.Close(fd)
		}
	}
}
