package sim

import (
	"container/heap"
	"time"
)

// An event is something that will happen.
type event struct {
	at time.Duration
	n  uint64 // order of planning: what is due at once happens in it
	do func()
}

// events is a heap by time.
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].n < q[j].n
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push and Pop are for container/heap.
func (q *events) Push(x any) { *q = append(*q, x.(event)) }

// Pop removes the last one.
func (q *events) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// standstill is how many things may happen at one moment.
const standstill = 10000

// after lets something happen in d.
func (w *world) after(d time.Duration, do func()) {
	w.planned++
	heap.Push(&w.queue, event{at: w.now + max(d, 0), n: w.planned, do: do})
}

// every lets something happen again and again, until it says no.
func (w *world) every(d time.Duration, do func() bool) {
	w.after(d, func() {
		if do() {
			w.every(d, do)
		}
	})
}

// run lets everything happen until the world stands still, a promise is broken, or time
// is over.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.broken == "" && !w.over {
		e := heap.Pop(&w.queue).(event)
		if e.at > until {
			w.now = until
			return
		}
		if e.at > w.now {
			w.now, w.stands = e.at, 0
		}
		if w.stands++; w.stands > standstill {
			w.fail("S12", "time stands still: something happens again and again at once")
		}
		w.steps++
		e.do()
	}
}

// between is a duration by chance.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// chance is true with a probability.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// fault is chance while there are faults.
func (w *world) fault(p float64) bool { return w.chance(p) && !w.healed }
