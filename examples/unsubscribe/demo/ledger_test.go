package demo_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/demo"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// TestTheLedgerSeesWhatIsWrong shows that a green line means something: each
// fault that is planted in the tables is counted.
func TestTheLedgerSeesWhatIsWrong(t *testing.T) {
	for name, address := range stores() {
		t.Run(name, func(t *testing.T) { seesWhatIsWrong(t, address) })
	}
}

func seesWhatIsWrong(t *testing.T, address func(*testing.T) string) {
	const unsubscribe = `insert into unsubscribed (mail, list, recipient, attempt) values ('a', 'l', 'r', 0)`
	for _, c := range []struct {
		name  string
		plant []string
		want  string
	}{
		{"nothing", nil, ""},
		{"a message is gone", []string{`delete from posthorn_message`}, "lost 1"},
		{"an effect is doubled", []string{`delete from posthorn_message`, unsubscribe, unsubscribe}, "doubled 1"},
		{"done, and waiting still", []string{unsubscribe}, "doubled 1"},
		{"nothing was accepted", []string{`delete from mail`}, "accepted 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := accepted(t, address(t))
			plant(t, s, c.plant)
			var out bytes.Buffer
			err := demo.Balance(t.Context(), s.DB(), &out)
			if (err != nil) != (c.want != "") || err != nil && !errors.Is(err, demo.ErrLedger) ||
				!strings.Contains(out.String(), c.want) {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
}

func plant(t *testing.T, s *store.Store, stmts []string) {
	t.Helper()
	for _, stmt := range stmts {
		if _, err := s.DB().Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
}

// accepted is a store with one accepted message.
func accepted(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, db := openStore(t, dsn)
	if err := db.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	plant(t, s, []string{`insert into mail (id, file, state) values ('a', 'a.eml', 'dispatched')`})
	err := s.Send(t.Context(), driver.Envelope{ID: "a", Kind: app.Kind, Queue: posthorn.DefaultQueue})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openStore opens a store that ends with the test.
func openStore(t *testing.T, dsn string) (*store.Store, app.Database) {
	t.Helper()
	s, err := open.Store(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	db, err := app.NewDatabase(s.DB(), s.Dialect())
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}
