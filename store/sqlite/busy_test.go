package sqlite_test

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// subscribe consumes from a queue.
func subscribe(t *testing.T, s *store.Store, queue string, lease time.Duration) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{queue}, Lease: lease, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// lock holds the lock of the file for a time.
func lock(t *testing.T, s *store.Store, d time.Duration) {
	t.Helper()
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "begin immediate"); err != nil {
		t.Fatal(err)
	}
	unlock := time.AfterFunc(d, func() { _, _ = conn.ExecContext(context.Background(), "rollback") })
	t.Cleanup(func() { unlock.Stop(); _ = conn.Close() })
}

// While somebody else holds the lock of the file for longer than a lease, nobody can
// renew. Whoever waits to rescue, and is let in first, must not take the others for dead.
func TestALockThatOutlastsALeaseIsNoCrash(t *testing.T) {
	const lease = 2 * time.Second
	path := newPath(t)
	holder, rival := subscribe(t, open(t, path), "q", lease), subscribe(t, open(t, path), "q", lease)
	locker := open(t, path)
	send(t, locker, 1)
	held := receive(t, holder, 1)
	lock(t, locker, lease+lease/2)
	soon, cancel := context.WithTimeout(t.Context(), lease+lease/2+lease/4)
	defer cancel()
	if ds, err := rival.Receive(soon, 1); err == nil {
		t.Errorf("received %+v, which another worker holds", ds)
	}
	if err := holder.Extend(t.Context(), held...); err != nil {
		t.Errorf("renew when the lock is free: %v", err)
	}
}

// A consumer of short leases that has waited for the lock spares those whom it takes for
// dead, for half of its own lease. Another one of the same process, of long leases, is not
// to do so for half of those, which is minutes.
func TestWhoSparesDoesSoForItsOwnLeaseOnly(t *testing.T) {
	const short, lasting = 400 * time.Millisecond, 10 * time.Minute
	s := open(t, newPath(t))
	send(t, s, 1)
	dead := receive(t, subscribe(t, s, "q", short), 1)
	lock(t, s, 2*short)
	// It looks while the lock is held, and is let in when that ends; before half a lease is over it is gone.
	soon, cancel := context.WithTimeout(t.Context(), 2*short+short/4)
	defer cancel()
	if ds, err := subscribe(t, s, "other", short).Receive(soon, 1); err == nil {
		t.Errorf("received %+v of a queue that is empty", ds)
	}
	if back := receive(t, subscribe(t, s, "q", lasting), 1); back[0].ID != dead[0].ID || back[0].Crashes != 1 {
		t.Errorf("received %s after %d crashes, want %s after 1", back[0].ID, back[0].Crashes, dead[0].ID)
	}
}
