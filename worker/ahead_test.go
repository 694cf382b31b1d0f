package worker_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

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

// A worker that begins settles what it is allowed to claim, and no more: its pace is known soon all the same.
func TestThePaceOfAWorkerThatBeginsIsSoonKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, can, each = 64, 80, 8 * time.Millisecond // messages at once, and in a millisecond
		var p worker.Pace
		p.Claimed()
		for range 40 {
			time.Sleep(time.Millisecond)
			held := slots + p.Ahead()
			p.Settled(min(can, held/8), held, each)
		}
		if got := p.Ahead(); got < 100*can*3/4 || got > 100*can {
			t.Errorf("after 40 ms %d are claimed ahead, and %d are settled in 100 ms", got, 100*can)
		}
	})
}

// Settlements come in batches.
func TestThePaceOfBatchesIsTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch, every = 100, 20 * time.Millisecond // 5 in a millisecond
		var p worker.Pace
		p.Claimed()
		for i := range 50 {
			time.Sleep(every)
			p.Settled(batch/2, batch, every)
			p.Settled(batch/2, batch, every)
			if got, most := p.Ahead(), 2*batch*int(100*time.Millisecond/every); got > most {
				t.Fatalf("after %d batches of %d in %s %d are claimed ahead", i+1, batch, every, got)
			}
		}
		if got, want := p.Ahead(), batch*int(100*time.Millisecond/every); got < want*9/10 || got > want*11/10 {
			t.Errorf("%d are claimed ahead, and %d are settled in 100 ms", got, want)
		}
	})
}

// Handlers that begin together end together: what they settle in some milliseconds is no pace.
func TestHandlersThatEndTogetherAreNoPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots, each = 64, time.Second // 6.4 in 100 ms
		var p worker.Pace
		p.Claimed()
		for i := range 5 * slots / 4 {
			if i%(slots/4) == 0 {
				time.Sleep(each - slots/4*time.Millisecond)
			}
			time.Sleep(time.Millisecond)
			p.Settled(4, slots, each)
			if got := p.Ahead(); got > 2*slots/10 {
				t.Fatalf("%d are claimed ahead, and 6 are settled in 100 ms", got)
			}
		}
	})
}

// A worker that has handled next to nothing has learned nothing of what it can do.
func TestThePaceGrowsFromAlmostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p worker.Pace
		p.Claimed()
		time.Sleep(10 * time.Minute)
		p.Settled(1, 1, time.Millisecond)
		for range 20 {
			time.Sleep(time.Millisecond)
			p.Settled(16, 128, 8*time.Millisecond)
		}
		if got := p.Ahead(); got < 1000 {
			t.Errorf("%d are claimed ahead, and 1600 are settled in 100 ms", got)
		}
	})
}

// A worker that becomes slower claims less.
func TestThePaceFallsWithTheHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p worker.Pace
		p.Claimed()
		for range 100 {
			time.Sleep(time.Millisecond)
			p.Settled(50, 1000, 20*time.Millisecond)
		}
		for range 200 {
			time.Sleep(time.Millisecond)
			p.Settled(1, 1000, time.Second)
		}
		if got := p.Ahead(); got > 150 {
			t.Errorf("%d are claimed ahead, and 100 are settled in 100 ms", got)
		}
	})
}
