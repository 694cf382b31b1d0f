package mysql_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/drivertest"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
)

// servers are shared by the tests that do a server no harm.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

// address is the store's address of a database.
func address(s *testserver.Server, database string) string {
	return fmt.Sprintf("mysql://%s@%s/%s", s.Superuser(), s.Addr(), database)
}

// openStore opens a store that ends with the test.
func openStore(t *testing.T, dsn string, o store.Options) *store.Store {
	t.Helper()
	s, err := mysql.Open(t.Context(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestMariaDBKeepsTheContract(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Opened {
		t.Helper()
		d := servers.MariaDB(t)
		dsn := address(d.Server, d.Name)
		s := openStore(t, dsn, store.Options{})
		return drivertest.Opened{
			Transport: s, DB: s.DB(),
			Reopen: func(t *testing.T) driver.Transport { t.Helper(); return openStore(t, dsn, store.Options{}) },
		}
	})
}
