package share_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/share"
)

// A desk serves some queues, with claims 10 ms apart.
type desk struct {
	schedule *share.Schedule
	now      time.Time
	left     []int  // what each queue holds
	full     []bool // the queues that are filled up before each claim
}

func newDesk(n int, weights []int) *desk {
	d := &desk{schedule: share.New(n, weights), left: make([]int, n), full: make([]bool, n)}
	for i := range d.full {
		d.full[i] = true
	}
	return d
}

// serve makes so many claims, and returns how many messages each queue gave.
func (d *desk) serve(claims, limit int) []int {
	took := make([]int, len(d.left))
	for range claims {
		d.now = d.now.Add(10 * time.Millisecond)
		for i, full := range d.full {
			if full {
				d.left[i] = math.MaxInt
			}
		}
		room := limit
		for _, turn := range d.schedule.Plan(limit, d.now) {
			if room == 0 {
				break
			}
			asked := min(turn.Limit, room)
			got := min(asked, d.left[turn.Queue])
			d.left[turn.Queue] -= got
			took[turn.Queue] += got
			room -= got
			d.schedule.Took(turn.Queue, asked, got, d.now)
		}
	}
	return took
}

func TestEarlierQueueIsServedFirstAndLaterOnesDoNotStarve(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3, 8, 100, 500} {
		got := newDesk(3, nil).serve(4000, limit)
		all := float64(4000 * limit)
		for i, want := range []float64{0.95, 0.025, 0.025} {
			if part := float64(got[i]) / all; math.Abs(part-want) > 0.005 {
				t.Errorf("limit %d: queue %d got %.3f of all, want %.3f", limit, i, part, want)
			}
		}
	}
}

func TestWeightsDivideTheMessages(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3, 8, 100, 500} {
		got := newDesk(3, []int{6, 3, 1}).serve(4000, limit)
		all := float64(4000 * limit)
		for i, want := range []float64{0.6, 0.3, 0.1} {
			if part := float64(got[i]) / all; math.Abs(part-want) > 0.01 {
				t.Errorf("limit %d: queue %d got %.3f of all, want %.3f", limit, i, part, want)
			}
		}
	}
}

func TestAQueueThatWasEmptyHasSavedUpNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(2, []int{1, 1})
	d.full[1] = false
	d.serve(1000, 10)
	d.full[1] = true
	got := d.serve(20, 10)
	if got[0] < 90 || got[0] > 110 {
		t.Errorf("after a long rest of the other, the busy queue got %d of 200", got[0])
	}
}

func TestNothingIsLeftOverWhileThereIsRoom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "queues")
		var weights []int
		if rapid.Bool().Draw(t, "weighted") {
			weights = rapid.SliceOfN(rapid.IntRange(1, 100), n, n).Draw(t, "weights")
		}
		d := newDesk(n, weights)
		clear(d.full)
		for range rapid.IntRange(1, 30).Draw(t, "claims") {
			limit := rapid.IntRange(1, 500).Draw(t, "limit")
			d.left = rapid.SliceOfN(rapid.IntRange(0, 600), n, n).Draw(t, "left")
			all := 0
			for _, l := range d.left {
				all += l
			}
			got := 0
			for _, g := range d.serve(1, limit) {
				got += g
			}
			if want := min(limit, all); got != want {
				t.Fatalf("claimed %d of %d with room for %d", got, all, limit)
			}
		}
	})
}

func TestAnEmptyQueueCostsNoTurnAheadOfItsRankEachTime(t *testing.T) {
	t.Parallel()
	s := share.New(2, nil)
	now := time.Unix(0, 0)
	ahead := 0
	for range 100 {
		now = now.Add(time.Millisecond)
		for _, turn := range s.Plan(100, now) {
			if turn.Queue == 0 {
				s.Took(0, 100, 100, now)
				break
			}
			ahead++
			s.Took(1, turn.Limit, 0, now)
		}
	}
	if ahead == 0 || ahead > 5 {
		t.Errorf("the empty queue was asked %d times in 100 claims of 100 ms together", ahead)
	}
}
