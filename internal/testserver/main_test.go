package testserver_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/testserver"
)

// childEnv makes the test binary a process that starts servers and waits to be
// killed.
const childEnv = "POSTHORN_TESTSERVER_CHILD"

// servers are for the tests that only look.
var servers testserver.Shared

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(servers.Main(m))
}

// A loose test stands in where there is no test to end the server. Whoever
// calls Fatal in it leaves, so that the parent sees it.
type loose struct{ testing.TB }

func (loose) Helper()           {}
func (loose) Cleanup(func())    {}
func (loose) Fatal(args ...any) { fmt.Fprintln(os.Stderr, args...); os.Exit(1) }
func (loose) Skip(args ...any)  { fmt.Fprintln(os.Stderr, args...); os.Exit(1) }

// child starts a server that runs and one that is paused, says what processes
// they have, and waits.
func child() int {
	for _, start := range products() {
		running := start(loose{}, testserver.Options{Volatile: true})
		paused := start(loose{}, testserver.Options{Volatile: true})
		if err := paused.Pause(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(running.Processes(), paused.Processes())
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}
