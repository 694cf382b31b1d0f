package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// sendMany sends messages to queue q.
func sendMany(t *testing.T, s *store.Store, name string, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		envs := make([]driver.Envelope, min(1000, n-from))
		for i := range envs {
			envs[i] = driver.Envelope{ID: fmt.Sprintf("%s-%d", name, from+i), Kind: "k", Queue: "q", Body: []byte("x")}
		}
		if err := s.Send(t.Context(), envs...); err != nil {
			t.Fatal(err)
		}
	}
}

// handleAll receives and acknowledges n messages, and returns the number of claims.
func handleAll(t *testing.T, c driver.Consumer, n int) (claims int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n > 0 {
		ds, err := c.Receive(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		ss := make([]driver.Settlement, len(ds))
		for i, d := range ds {
			ss[i].Delivery = d
		}
		if err := c.Settle(ctx, ss...); err != nil {
			t.Fatal(err)
		}
		n -= len(ds)
		claims++
	}
	return claims
}

// entries are the entries of the ready index that were read so far.
func entries(t *testing.T, db *sql.DB) (n int64) {
	t.Helper()
	_, _ = db.ExecContext(t.Context(), "select pg_stat_force_next_flush()") // since PostgreSQL 15; before it is soon
	err := db.QueryRowContext(t.Context(), `select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes
		where indexrelname = 'posthorn_message_ready'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A snapshot that another session holds keeps the dead rows of all messages that
// were handled since. Claims do not walk over them: they would read hundreds of
// thousands of entries here.
func TestClaimsDoNotWalkOverDeadRowsUnderAHeldSnapshot(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	s := openStore(t, d.DSN(), store.Options{Poll: patience})
	holder, err := d.Open(t).BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	var there int
	if err := holder.QueryRowContext(t.Context(), "select count(*) from posthorn_message").Scan(&there); err != nil {
		t.Fatal(err)
	}
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 10_000
	sendMany(t, s, "first", n)
	handleAll(t, c, n)
	sendMany(t, s, "second", n)
	before := entries(t, s.DB())
	claims := handleAll(t, c, n)
	read := entries(t, s.DB()) - before
	t.Logf("%d claims of %d messages read %d entries of the index", claims, n, read)
	if limit := int64(n * 20); read > limit {
		t.Errorf("%d claims read %d entries of the index, want at most %d: they walk over dead rows", claims, read, limit)
	}
}
