package share_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/share"
)

// serve makes claims from queues that hold so many messages, refilled before each claim
// where full says so, and returns how many each queue gave.
func serve(s *share.Schedule, claims, limit int, left []int, full []bool) []int {
	return serveFrom(time.Unix(0, 0), s, claims, limit, left, full)
}

// serveFrom is serve with claims 10 ms apart from a time on.
func serveFrom(now time.Time, s *share.Schedule, claims, limit int, left []int, full []bool) []int {
	took := make([]int, len(left))
	for range claims {
		now = now.Add(10 * time.Millisecond)
		for i := range left {
			if full[i] {
				left[i] = math.MaxInt
			}
		}
		room := limit
		for _, turn := range s.Plan(limit, now) {
			if room == 0 {
				break
			}
			asked := min(turn.Limit, room)
			got := min(asked, left[turn.Queue])
			left[turn.Queue] -= got
			took[turn.Queue] += got
			room -= got
			s.Took(turn.Queue, asked, got, now)
		}
	}
	return took
}

func TestEarlierQueueIsServedFirstAndLaterOnesDoNotStarve(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3, 8, 100, 500} {
		got := serve(share.New(3, nil), 4000, limit, make([]int, 3), []bool{true, true, true})
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
		got := serve(share.New(3, []int{6, 3, 1}), 4000, limit, make([]int, 3), []bool{true, true, true})
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
	s := share.New(2, []int{1, 1})
	serve(s, 1000, 10, []int{0, 0}, []bool{true, false})
	got := serveFrom(time.Unix(20, 0), s, 20, 10, []int{0, 0}, []bool{true, true})
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
		s := share.New(n, weights)
		for range rapid.IntRange(1, 30).Draw(t, "claims") {
			limit := rapid.IntRange(1, 500).Draw(t, "limit")
			left := rapid.SliceOfN(rapid.IntRange(0, 600), n, n).Draw(t, "left")
			all := 0
			for _, l := range left {
				all += l
			}
			got := 0
			for _, g := range serve(s, 1, limit, left, make([]bool, n)) {
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
