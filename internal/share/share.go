// Package share decides in which order the queues of one consumer are served, and how
// much of each: strictly by rank, or by weight, and in both cases so that none starves
// while the others are full.
package share

import (
	"cmp"
	"slices"
	"time"
)

// Guaranteed is the part of all messages that the queues behind the first one get
// together while the earlier ones are never empty.
const Guaranteed = 0.05

// restEmpty is for how long a queue that was found empty is not asked ahead of its
// rank: an empty queue must not cost a statement with each claim.
const restEmpty = 25 * time.Millisecond

// maxCredit bounds what a queue can be owed or owe, in messages: old debts must not
// turn the order around for long.
const maxCredit = 1000

// A Turn is a part of one claim: at most so many messages of a queue.
type Turn struct{ Queue, Limit int }

// A Schedule remembers what the queues were given. It is not safe for concurrent
// use.
type Schedule struct {
	part   []float64   // of all messages, guaranteed
	credit []float64   // what each is owed, in messages
	empty  []time.Time // when each was found empty, if it was at the last turn
	strict bool
}

// New makes a schedule of n queues. Without weights an earlier queue is served first,
// and the later ones share Guaranteed; with weights, one for each queue and all above
// zero, each gets its part of the messages while all are full. What a queue leaves
// over goes to the others.
func New(n int, weights []int) *Schedule {
	s := &Schedule{
		part: make([]float64, n), credit: make([]float64, n), empty: make([]time.Time, n),
		strict: len(weights) == 0,
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	for i := range s.part {
		switch {
		case !s.strict:
			s.part[i] = float64(weights[i]) / float64(sum)
		case n == 1:
			s.part[i] = 1
		case i == 0:
			s.part[i] = 1 - Guaranteed
		default:
			s.part[i] = Guaranteed / float64(n-1)
		}
	}
	return s
}

// Plan lists the turns of a claim of at most limit messages: first what queues are
// owed, then the rest of the room by rank. The caller goes through them until its room
// is full, and tells what came of each turn by Took.
func (s *Schedule) Plan(limit int, now time.Time) []Turn {
	if len(s.part) == 1 {
		return []Turn{{0, limit}}
	}
	rank := s.rank()
	turns := make([]Turn, 0, 2*len(rank))
	for _, i := range rank {
		owed := min(int(s.part[i]*float64(limit)+s.credit[i]), limit)
		if owed >= 1 && s.active(i, now) {
			turns = append(turns, Turn{i, owed})
		}
	}
	// Who is owed most comes first, or a small room would never reach it.
	slices.SortStableFunc(turns, func(a, b Turn) int { return b.Limit - a.Limit })
	for _, i := range rank {
		turns = append(turns, Turn{i, limit})
	}
	return turns
}

// rank is the order in which queues get what is left over.
func (s *Schedule) rank() []int {
	order := make([]int, len(s.part))
	for i := range order {
		order[i] = i
	}
	if !s.strict {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.credit[b], s.credit[a]) })
	}
	return order
}

// Took tells that a turn for asked messages of a queue gave got. What it gave is
// divided among the queues that have something, as far as is known: one that is empty
// earns nothing.
func (s *Schedule) Took(queue, asked, got int, now time.Time) {
	sum := 0.0
	for i, part := range s.part {
		if i == queue || s.active(i, now) {
			sum += part
		}
	}
	for i, part := range s.part {
		if i == queue || s.active(i, now) {
			s.credit[i] = min(s.credit[i]+float64(got)*part/sum, maxCredit)
		}
	}
	s.credit[queue] = max(s.credit[queue]-float64(got), -maxCredit)
	if got < asked {
		s.credit[queue], s.empty[queue] = 0, now
	} else {
		s.empty[queue] = time.Time{}
	}
}

// active reports whether a queue has not been found empty just now.
func (s *Schedule) active(queue int, now time.Time) bool { return now.Sub(s.empty[queue]) >= restEmpty }
