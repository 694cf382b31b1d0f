package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// A company is a handler that knows who runs beside whom.
type company struct {
	t       *testing.T
	s       *store.Store
	suspect map[string]bool // by id
	leave   chan struct{}   // ends the long ones
	inside  atomic.Int64
	ran     atomic.Int64 // suspects
	claims  atomic.Int64 // of the suspect that ran last
}

// handle fails a suspect that has others beside it.
func (c *company) handle(ctx context.Context, j job) error {
	n := c.inside.Add(1)
	defer c.inside.Add(-1)
	if j.How == "long" {
		select {
		case <-c.leave:
		case <-ctx.Done():
		}
	}
	d, _ := posthorn.DeliveryFrom(ctx)
	if !c.suspect[d.ID] {
		return nil
	}
	c.ran.Add(1)
	c.claims.Store(int64(d.Deliveries))
	if d.Crashes != 2 || n != 1 {
		return fmt.Errorf("suspect with %d crashes has company of %d", d.Crashes, n-1)
	}
	if claimed := count(c.t, c.s, "select count(*) from posthorn_message where state = 2"); claimed != 1 {
		return fmt.Errorf("%d messages are claimed beside a suspect", claimed-1)
	}
	return nil
}

// suspects sends n messages that have crashed twice.
func suspects(t *testing.T, s *store.Store, n int) *company {
	t.Helper()
	c := &company{t: t, s: s, suspect: map[string]bool{}, leave: make(chan struct{})}
	for _, id := range sendJobs(t, s, n) {
		c.suspect[id] = true
	}
	crash(t, s, n)
	crash(t, s, n)
	return c
}

// finished waits until n messages have their end, none of them a dead letter.
func (c *company) finished(r *running, n int) {
	c.t.Helper()
	r.until(n, func(e worker.Event) bool { return e.Verdict == driver.Ack || e.Verdict == driver.Bury })
	for _, e := range r.seen(verdict(driver.Bury)) {
		c.t.Errorf("%v", e.Err)
	}
	if int(c.ran.Load()) != len(c.suspect) {
		c.t.Errorf("%d suspects ran, want %d", c.ran.Load(), len(c.suspect))
	}
}

func TestSuspectsRunAlone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	c := suspects(t, s, 3)
	sendJobs(t, s, 20)
	r := start(t, s, handle(c.handle, noRetry()), worker.Options{Concurrency: 4})
	c.finished(r, 23)
}

func TestRoomIsMadeForASuspectWithoutKeepingItBesideWhatRuns(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	c := suspects(t, s, 1)
	exec(t, s, "update posthorn_message set deliveries = 20, state = 1, wake_at = 4000000000000") // passed over, not due
	dispatch(t, s, job{How: "long"})
	r := start(t, s, handle(c.handle, noRetry()), worker.Options{Concurrency: 2})
	until(t, "the long one runs", func() bool { return c.inside.Load() == 1 })
	exec(t, s, "update posthorn_message set state = 0, wake_at = 0 where crashes = 2")
	until(t, "it goes back", func() bool {
		return count(t, s, "select count(*) from posthorn_message where crashes = 2 and deliveries = 21 and state = 0") == 1
	})
	sendJobs(t, s, 5)
	close(c.leave)
	c.finished(r, 7)
	if n := c.claims.Load(); n != 22 {
		t.Errorf("it was claimed %d times: while the long one ran, too", n-20)
	}
}

// until waits for something that nothing tells of.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: " + what)
		}
	}
}
