package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test: it is a safety net, never a measure.
const patience = 30 * time.Second

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "store.db") }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), "sqlite:"+path+"?synchronous=normal", store.Options{
		StuckGrace: 50 * time.Millisecond, GroupBudget: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec(t *testing.T, s *store.Store, stmt string) {
	t.Helper()
	if _, err := s.DB().ExecContext(t.Context(), stmt); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s *store.Store, query string, args ...any) (n int) {
	t.Helper()
	if err := s.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// envelope is a message of queue q.
func envelope(id string) driver.Envelope {
	return driver.Envelope{ID: id, Kind: "k", Queue: "q", Body: []byte("body of " + id)}
}

// send sends n messages m0, m1 ….
func send(t *testing.T, s *store.Store, n int) {
	t.Helper()
	envs := make([]driver.Envelope, n)
	for i := range envs {
		envs[i] = envelope(fmt.Sprint("m", i))
	}
	if err := s.Send(t.Context(), envs...); err != nil {
		t.Fatal(err)
	}
}

// consume opens a consumer of queue q.
func consume(t *testing.T, s *store.Store) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// receive waits for messages.
func receive(t *testing.T, c driver.Consumer, n int) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ds, err := c.Receive(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// unit is a unit with an effect that inserts the message's id and goes on with then.
func unit(t *testing.T, d driver.Delivery, then func(context.Context, driver.Tx) error) driver.Unit {
	return driver.Unit{
		Delivery: d, Context: t.Context(), Timeout: patience,
		Effect: func(ctx context.Context, tx driver.Tx) error {
			if _, err := tx.ExecContext(ctx, "insert into effect values (?)", d.ID); err != nil {
				return err
			}
			if then == nil {
				return nil
			}
			return then(ctx, tx)
		},
	}
}
