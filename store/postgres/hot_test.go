package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// updates counts the updates of messages, and those that touched no index.
func updates(t *testing.T, s *store.Store) (all, hot int64) {
	t.Helper()
	err := s.DB().QueryRowContext(t.Context(), `select coalesce(n_tup_upd, 0), coalesce(n_tup_hot_upd, 0)
		from pg_stat_user_tables where relname = 'posthorn_message'`).Scan(&all, &hot)
	if err != nil {
		t.Fatal(err)
	}
	return all, hot
}

// Claims, and what gives innocents back, change nothing that stands in an index or in
// its condition (ADR 19). Where a page is full, a row moves all the same.
func TestClaimsAndReleasesTouchNoIndex(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	const n = 60
	envs := make([]driver.Envelope, n)
	for i := range envs {
		envs[i] = driver.Envelope{ID: fmt.Sprint("m", i), Kind: "k", Queue: "q", Body: []byte("x")}
	}
	if err := s.Send(t.Context(), envs...); err != nil {
		t.Fatal(err)
	}
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if ds, err := c.Receive(t.Context(), n); len(ds) != n || err != nil {
		t.Fatalf("received %d, %v", len(ds), err)
	}
	toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "w", Begun: []driver.Token{}})
	if err != nil || toll.Released != n {
		t.Fatalf("toll %+v, %v", toll, err)
	}
	deadline := time.Now().Add(patience)
	for all := int64(0); all < 2*n; time.Sleep(50 * time.Millisecond) { // a session tells of its work when it is idle
		var hot int64
		if all, hot = updates(t, s); hot < all/2 {
			t.Fatalf("%d of %d updates touched an index", all-hot, all)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server tells of %d updates only", all)
		}
	}
}
