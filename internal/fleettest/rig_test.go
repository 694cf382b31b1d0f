package fleettest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/internal/testserver"
)

// appEnv makes the test binary the application that it names.
const appEnv = "POSTHORN_FLEETTEST_APP"

// servers are private to this test process.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) {
	switch os.Getenv(appEnv) {
	case "killers":
		cli.Main(killers())
	case "sharers":
		cli.Main(sharers())
	case "drops":
		cli.Main(drops())
	}
	os.Exit(servers.Main(m).Run())
}

// A fleet is `shop up` in a process of its own, with all that it starts.
type fleet struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  tail
	over chan error
}

// launch starts a fleet of an application on a store.
func launch(t *testing.T, app, dsn, config string) *fleet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "posthorn.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, cmd: exec.Command(os.Args[0], "up", "--config", file), over: make(chan error, 1)}
	f.cmd.Env = append(os.Environ(), appEnv+"="+app, "POSTHORN_STORE="+dsn, "GOTRACEBACK=single")
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); f.over <- f.cmd.Wait() }()
	t.Cleanup(func() { _ = f.cmd.Process.Kill(); <-ended })
	return f
}

// stop ends it gracefully.
func (f *fleet) stop() {
	f.t.Helper()
	_ = f.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-f.over; err != nil {
		f.t.Errorf("up ended with %v\n%s", err, f.out.String())
	}
}

// A tail keeps the end of what is written to it, and may be read meanwhile.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.b.Len() > 1<<20 {
		b.b.Reset()
	}
	return b.b.Write(p)
}

// String is the end of what was written.
func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.b.String()
	return text[max(0, len(text)-6000):]
}
