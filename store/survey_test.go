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
	for _, d := range receive(t, c) { // the marks are behind them
		if d.ID == "hidden" {
			_, err := s.DB().ExecContext(t.Context(), `update posthorn_message
				set state = 0, token = null, worker = null, due_at = due_at - 3600000 where id = 'hidden'`)
			try(t, err)
			continue
		}
		try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d}))
	}
	take(t, c, "hidden")
}

// A round leaves nothing out, whatever its slices take, and does not take for ever.
func TestTheSlicesOfARoundAreAllThereIs(t *testing.T) {
	t.Parallel()
	for range 200 {
		below := rand.Int64N(time.Now().UnixMilli()) + 1
		dense, at, n := rand.Int64N(below), below, 0
		store.Slices(below, func(low, high int64) (time.Duration, bool) {
			if high != at || low >= high {
				t.Fatalf("a slice from %d to %d, want one that ends at %d", low, high, at)
			}
			n++
			if n > 1000 {
				t.Fatalf("%d slices, and %d ms left", n, high)
			}
			if rand.IntN(10) == 0 {
				return 0, true
			}
			at = low
			if low < dense && high > dense {
				return 20 * time.Millisecond, false
			}
			return time.Millisecond, false
		})
		if at != math.MinInt64 {
			t.Fatalf("a round ends at %d", at)
		}
	}
}

// Slices take about as long as they are to take, where it takes time.
func TestSlicesAreAsWideAsTheirTimeAllows(t *testing.T) {
	t.Parallel()
	longest := time.Duration(0)
	store.Slices(1_000_000, func(low, high int64) (time.Duration, bool) {
		took := time.Duration(high-max(low, 0)) * time.Millisecond / 10
		longest = max(longest, took)
		return took, false
	})
	if longest < 5*time.Millisecond || longest > 20*time.Millisecond {
		t.Errorf("the longest of slices that are to take 10 ms takes %s", longest)
	}
}
