package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/drivertest"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

func TestSQLiteKeepsTheContract(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Opened {
		t.Helper()
		dsn := "sqlite:" + filepath.Join(t.TempDir(), "store.db")
		open := func(t *testing.T) *store.Store {
			t.Helper()
			s, err := sqlite.Open(t.Context(), dsn, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open(t)
		return drivertest.Opened{
			Transport: s, DB: s.DB(),
			Reopen: func(t *testing.T) driver.Transport { t.Helper(); return open(t) },
		}
	})
}
