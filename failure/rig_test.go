package failure_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { os.Exit(servers.Main(m).Run()) }

// kinds are the kinds of store.
func kinds() []string { return []string{"SQLite", "PostgreSQL", "MariaDB"} }

// open opens a fresh store of a kind.
func open(t *testing.T, kind string, o store.Options) *store.Store {
	t.Helper()
	var (
		s   *store.Store
		err error
	)
	switch kind {
	case "SQLite":
		s, err = sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), o)
	case "PostgreSQL":
		s, err = postgres.Open(t.Context(), servers.PostgreSQL(t).DSN(), o)
	default:
		d := servers.MariaDB(t)
		s, err = mysql.Open(t.Context(), "mysql://root@"+d.Server.Addr()+"/"+d.Name, o)
	}
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// everywhere runs a test on a fresh store of each kind.
func everywhere(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	t.Parallel()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, kind, store.Options{}))
		})
	}
}

// failer is a test, or a property under one.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func try(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
