package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// openErr is the error of opening a store, which is closed if it opens.
func openErr(t *testing.T, dsn string) error {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dsn, store.Options{})
	if err == nil {
		err = s.Close()
	}
	return err
}

func TestOpenRefusesAnAddressThatItDoesNotUnderstand(t *testing.T) {
	for _, dsn := range []string{
		"", "posthorn.db", "postgres://x", "sqlite:", "sqlite::memory:", "sqlite:a.db?synchronous=off", "sqlite:a.db?mode=ro",
		"sqlite:a%2e.db", "sqlite:a#b", "sqlite:?x", "sqlite:a.db?%zz", "sqlite:\x00",
	} {
		if err := openErr(t, dsn); !errors.Is(err, store.ErrDSN) {
			t.Errorf("%q: %v, want ErrDSN", dsn, err)
		}
	}
}

func TestOpenSaysWhatIsWrongWithTheFile(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("this is no database, and it is long enough to be taken for one: "+
		"sixteen bytes are not, so here are some more of them, to be on the safe side"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"a text file":             {text, store.ErrNotAStore},
		"a directory":             {dir, store.ErrReadOnly},
		"no such directory":       {filepath.Join(dir, "no", "store.db"), store.ErrReadOnly},
		"a file as the directory": {filepath.Join(text, "store.db"), store.ErrReadOnly},
	} {
		if err := openErr(t, "sqlite:"+c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if b, err := os.ReadFile(text); err != nil || string(b[:12]) != "this is no d" {
		t.Error("a file that is no store was changed")
	}
}

func TestOpenRefusesASchemaOfANewerProgram(t *testing.T) {
	path := newPath(t)
	exec(t, open(t, path), "insert into posthorn_migration values (99, 'future', 1)")
	if err := openErr(t, "sqlite:"+path); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("error is %v, want ErrTooNew", err)
	}
}

func TestStoreIsForItsOwnerAlone(t *testing.T) {
	path := newPath(t)
	send(t, open(t, path), 1)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(name), info.Mode(), err)
		}
	}
}

func TestDurabilityIsWhatTheAddressAsksFor(t *testing.T) {
	for query, want := range map[string]driver.Durability{
		"": driver.PowerSafe, "?synchronous=full": driver.PowerSafe, "?synchronous=normal": driver.ProcessSafe,
	} {
		s, err := sqlite.Open(t.Context(), "sqlite:"+newPath(t)+query, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		caps := s.Capabilities()
		if caps.Durability != want || caps.MaxBody != driver.MaxBody || !caps.Delay || !caps.Priority || !caps.Bury ||
			!caps.UniqueIDs || !caps.AttemptsLog || s.Dialect() != "sqlite" {
			t.Errorf("%q: %+v", query, caps)
		}
		if err := errors.Join(s.Ping(t.Context()), s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestStoresThatOpenTogetherAgreeOnOneSchemaAndOneID(t *testing.T) {
	path := newPath(t)
	var wg sync.WaitGroup
	ids := make([]string, 6)
	for i := range ids {
		wg.Go(func() {
			s, err := sqlite.Open(context.WithoutCancel(t.Context()), "sqlite:"+path, store.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = s.ID()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("ids differ: %q", ids)
		}
	}
	if other := open(t, newPath(t)); other.ID() == ids[0] {
		t.Error("two stores have one id")
	}
}

func TestMigrationsAreListedBeforeAndAfterTheyRan(t *testing.T) {
	path := newPath(t)
	before, err := sqlite.Migrations(t.Context(), "sqlite:"+path)
	if err != nil || len(before) == 0 || !before[0].AppliedAt.IsZero() {
		t.Fatalf("%+v, %v", before, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("to list the migrations made the file")
	}
	n, err := sqlite.Migrate(t.Context(), "sqlite:"+path)
	if n != len(before) || err != nil {
		t.Fatalf("%d steps, %v", n, err)
	}
	if n, err := sqlite.Migrate(t.Context(), "sqlite:"+path); n != 0 || err != nil {
		t.Errorf("the second time: %d steps, %v", n, err)
	}
	after, err := sqlite.Migrations(t.Context(), "sqlite:"+path)
	if err != nil || len(after) != len(before) || after[len(after)-1].AppliedAt.IsZero() {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestStoreLivesBesideTheApplicationsTables(t *testing.T) {
	path := newPath(t)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "create table customer (name text); insert into customer values ('Ada')")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, path), "select count(*) from customer"); n != 1 {
		t.Errorf("%d customers are left, want 1", n)
	}
}

func TestClosedStoreRefusesEverything(t *testing.T) {
	s := open(t, newPath(t))
	c := consume(t, s)
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(context.WithoutCancel(t.Context()), 1)
		received <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-received; !errors.Is(err, driver.ErrClosed) {
		t.Errorf("receive: %v, want ErrClosed", err)
	}
	if err := s.Send(t.Context(), envelope("a")); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("send: %v, want ErrClosed", err)
	}
	sub := driver.Subscription{Queues: []string{"q"}, Lease: patience}
	if _, err := s.Consume(t.Context(), sub); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("consume: %v, want ErrClosed", err)
	}
	if errs := s.Transact(t.Context(), []driver.Unit{{Context: t.Context()}}); !errors.Is(errs[0], driver.ErrClosed) {
		t.Errorf("transact: %v, want ErrClosed", errs[0])
	}
}
