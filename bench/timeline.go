package main

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// step is the resolution of a timeline.
const step = 5 * time.Millisecond

// A timeline notes when messages reached their handlers. Handlers may note
// concurrently.
type timeline struct {
	first  int64 // the step of 1970 that counts[0] is about
	counts []atomic.Int64
}

// newTimeline begins now, and has room for as long as a run may take.
func newTimeline() *timeline {
	return &timeline{first: stepOf(time.Now()), counts: make([]atomic.Int64, longPatience/step)}
}

func stepOf(t time.Time) int64 { return t.UnixNano() / int64(step) }

// note counts one message now.
func (t *timeline) note() {
	i := min(stepOf(time.Now())-t.first, int64(len(t.counts)-1))
	t.counts[i].Add(1)
}

// history is what was noted so far.
func (t *timeline) history() history {
	h := history{}
	for i := range t.counts {
		if n := t.counts[i].Load(); n > 0 {
			h[t.first+int64(i)] = int(n)
		}
	}
	return h
}

// A history is how many messages were handled in each step since 1970, so that
// those of several processes can be added.
type history map[int64]int

func (h history) add(other history) {
	for at, n := range other {
		h[at] += n
	}
}

// moment is when the nth message was handled, in steps since 1970: those of one
// step are taken to be evenly spread over it.
func (h history) moment(n int) float64 {
	before := 0
	for _, at := range slices.Sorted(maps.Keys(h)) {
		if before+h[at] >= n {
			return float64(at) + float64(n-before)/float64(h[at])
		}
		before += h[at]
	}
	return 0
}

// rate is how many messages a second were handled from one to another.
func (h history) rate(from, to int) float64 {
	return float64(to-from) / ((h.moment(to) - h.moment(from)) * step.Seconds())
}
