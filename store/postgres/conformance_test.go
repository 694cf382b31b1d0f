package postgres_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/drivertest"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// servers are shared by the tests that do a server no harm.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

func TestPostgreSQLKeepsTheContract(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Opened {
		t.Helper()
		return opened(t, servers.PostgreSQL(t).DSN())
	})
}

// opened is a store in an empty database.
func opened(t *testing.T, dsn string) drivertest.Opened {
	t.Helper()
	open := func(t *testing.T) *store.Store {
		t.Helper()
		s, err := postgres.Open(t.Context(), dsn, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(t)
	return drivertest.Opened{
		Transport: s, DB: s.DB(),
		Reopen:      func(t *testing.T) driver.Transport { t.Helper(); return open(t) },
		Placeholder: func(n int) string { return fmt.Sprintf("$%d", n) },
	}
}
