package worker_test

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker"
)

// A fast worker holds no more bodies ahead of its slots than 16 MiB of them.
func TestWhatIsClaimedAheadIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	bodies := func(n, size int) []driver.Delivery {
		return slices.Repeat([]driver.Delivery{{Envelope: driver.Envelope{Body: make([]byte, size)}}}, n)
	}
	for _, c := range []struct {
		what   string
		rate   float64
		claims [][]driver.Delivery
		want   int
	}{
		{"nothing was claimed", 10_000, nil, 1000},
		{"no bodies", 10_000, [][]driver.Delivery{bodies(5, 0), {}}, 1000},
		{"small bodies", 10_000, [][]driver.Delivery{bodies(5, 200)}, 1000},
		{"large bodies", 10_000, [][]driver.Delivery{bodies(5, 1<<20)}, 16},
		{"large bodies, slow", 100, [][]driver.Delivery{bodies(5, 1<<20)}, 10},
		{"a large claim after small ones", 10_000, [][]driver.Delivery{bodies(500, 1), bodies(500, 1), bodies(1, 1<<20)}, 16},
		{"a body that is larger than all may be", 10_000, [][]driver.Delivery{bodies(1, 32<<20)}, 0},
		{"small ones after a large one", 10_000, append([][]driver.Delivery{bodies(1, 1<<20)}, slices.Repeat(
			[][]driver.Delivery{bodies(100, 1)}, 30)...), 1000},
	} {
		if got := worker.Ahead(c.rate, c.claims...); got != c.want {
			t.Errorf("%s: %d are claimed ahead, want %d", c.what, got, c.want)
		}
	}
}
