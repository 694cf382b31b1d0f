package store_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// What has come to stand before the marks in a way of which nobody has taken note, such as a worker of an
// older version, or an operator by hand, is found by what looks at all of it, slice by slice.
func TestWhatNobodyHasNotedIsFoundByARound(t *testing.T) {
	t.Parallel()
	s := lined(t, servers.PostgreSQL(t).DSN())
	s.StartAPartOfTheTime(100)
	c := consume(t, s)
	settled(t, s, c)
	try(t, s.Send(t.Context(), message("hidden"), message("other")))
	before := int64(0)
	for _, d := range receive(t, c) { // the marks are behind them
		before = store.MarkOf(c, "q", 0)
		if d.ID == "hidden" {
			_, err := s.DB().ExecContext(t.Context(), `update posthorn_message
				set state = 0, token = null, worker = null, due_at = due_at - 3600000 where id = 'hidden'`)
			try(t, err)
			continue
		}
		try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d}))
	}
	take(t, c, "hidden")
	nothing(t, c)
	if after := store.MarkOf(c, "q", 0); after < before {
		t.Errorf("claims walk over what lies between %d and %d still", after, before)
	}
}

// A round leaves nothing out, whatever its slices take, and does not take for ever.
func TestTheSlicesOfARoundAreAllThereIs(t *testing.T) {
	t.Parallel()
	for range 200 {
		below := rand.Int64N(time.Now().UnixMilli()) + 1
		dense, at, n := rand.Int64N(below), below, 0
		least, most := time.Duration(rand.Int64N(int64(time.Second))), rand.Int64N(int64(time.Second))+1
		store.Slices(below, func(low, high int64) (time.Duration, bool) {
			if high != at || low >= high {
				t.Fatalf("a slice from %d to %d, want one that ends at %d", low, high, at)
			}
			if n++; n > 2000 {
				t.Fatalf("%d slices, and %d ms left", n, high)
			}
			if rand.IntN(100) == 0 {
				return 0, true
			}
			at = low
			if low < dense {
				return least + time.Duration(rand.Int64N(most)), false
			}
			return least, false
		})
		if at != math.MinInt64 {
			t.Fatalf("a round ends at %d", at)
		}
	}
}

// Slices take about as long as they are to take, where it takes time, beyond what the shortest takes; and so
// much is what a round costs.
func TestSlicesAreAsWideAsTheirTimeAllows(t *testing.T) {
	t.Parallel()
	const least = 50 * time.Millisecond // a server that is far away
	longest := time.Duration(0)
	cost := store.Slices(1_000_000, func(low, high int64) (time.Duration, bool) {
		took := time.Duration(high-max(low, 0)) * time.Millisecond / 10_000
		longest = max(longest, took)
		return least + took, false
	})
	if longest < 5*time.Millisecond || longest > 20*time.Millisecond {
		t.Errorf("the longest of slices that are to take 10 ms takes %s", longest)
	}
	if cost < 90*time.Millisecond || cost > 100*time.Millisecond {
		t.Errorf("a million that take 100 ms are taken to cost %s", cost)
	}
}

// What a process itself has made ready, since its lease ran out, is not overtaken by what it claims next, though it
// stands before the marks.
func TestWhatAProcessHasGivenBackIsNotOvertaken(t *testing.T) {
	t.Parallel()
	s := lined(t, servers.PostgreSQL(t).DSN())
	c := hold(t, s, "w")
	began := settled(t, s, c)
	urgent := func(id string) driver.Envelope { e := message(id); e.Priority = 1; return e }
	try(t, s.Send(t.Context(), urgent("first")))
	receive(t, c)
	time.Sleep(10 * time.Millisecond) // the second is due after it
	try(t, s.Send(t.Context(), urgent("second")))
	take(t, c, "second")
	try(t, s.Send(t.Context(), message("other")))
	rescued(t, s, "first")
	take(t, c, "first")
	take(t, c, "other")
	onlyLines(t, c, began)
}

// rescued has a consumer of another queue make a message ready whose lease is to run out.
func rescued(t *testing.T, s *store.Store, id string) {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"aside"}, Lease: time.Second, Worker: "other"})
	try(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.Receive(t.Context(), 1) // until it is closed: a call that is cut off looks as if the server was away
	}()
	defer func() { try(t, c.Close()); <-ended }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var state int
		row := s.DB().QueryRowContext(t.Context(), `select state from posthorn_message where id = $1`, id)
		if try(t, row.Scan(&state)); state == 0 {
			return
		}
	}
	t.Fatalf("message %s is not made ready", id)
}
