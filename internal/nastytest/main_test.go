package nastytest_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/testserver"
)

// long makes the interleaved run ten times as long.
var long = flag.Bool("long", false, "handle 10,000 messages on each server instead of 1,000")

// servers run all tests of their kind. What they store need not outlive them.
var servers = testserver.Shared{Options: testserver.Options{Volatile: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

// onEachServer runs a test on each server.
func onEachServer(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range []kind{postgreSQL(), mariaDB()} {
		t.Run("on "+k.name, func(t *testing.T) { t.Parallel(); test(t, k) })
	}
}
