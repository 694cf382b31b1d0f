package sim

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/operation"
)

// benchEvery is of how many worlds one has operations on dead letters. The others have the
// histories that they would have without.
const benchEvery = 3

// A workbench is what a world has of operations: letters that were dead before it began,
// those who carry operations on, and those who make, pause, resume and cancel them.
type workbench struct {
	w         *world
	bounds    operation.Bounds
	lease     time.Duration
	bulks     []*bulk
	executors []*executor
	operator  life
	asked     int            // operations that somebody has asked for
	planned   int            // and that somebody will
	rush      time.Duration  // others wait for so long, and then for so long they do not; 0: they never do
	sent      map[int64]int  // how often each letter was sent
	discarded map[int64]bool // letters
	marked    map[int64]int  // the step in which a letter was discarded or restored last
}

// newWorkbench draws what is the same for the whole run. The bounds are small, so that few
// letters meet them.
func newWorkbench(w *world) *workbench {
	k := &workbench{w: w, sent: map[int64]int{}, discarded: map[int64]bool{}, marked: map[int64]int{}}
	k.planned = 1 + w.rng.IntN(3)
	k.operator.w = w
	k.lease = w.between(500*time.Millisecond, 3*time.Second)
	up := func(low, n int) int { return low + w.rng.IntN(n) }
	k.bounds = operation.Bounds{
		Freeze: up(1, 8), Batch: up(1, 6), Bytes: int64(up(2, 5)), Look: up(2, 6), Flying: up(1, 8), Recent: up(3, 6),
		Stages: [2]int{1, up(2, 4)},
	}
	k.bury(up(3, 20), [...]float64{0.05, 0.3, 0.6, 0.9}[w.rng.IntN(4)])
	if w.chance(0.7) {
		k.rush = w.between(time.Second, 20*time.Second)
	}
	for n := range up(1, 3) {
		w.after(w.between(0, time.Second), func() { k.hire(n, 1) })
	}
	return k
}

// bury lets the world begin with dead letters, of which some will die again.
func (k *workbench) bury(letters int, grief float64) {
	w := k.w
	for n := range letters {
		m := &message{
			id: fmt.Sprintf("d%d", n+1), queue: w.queues[w.rng.IntN(len(w.queues))], transactional: w.chance(0.6),
			slow: w.between(0, 300*time.Millisecond), sent: "ok", kept: true, dead: true, lives: 1, unfit: w.chance(0.03),
		}
		if w.chance(grief) {
			m.fails, m.why = 1+w.rng.IntN(3), posthorn.Reject(errHandler)
		}
		w.messages[m.id], w.order = m, append(w.order, m)
		w.accepted++
		s := w.store.shelf
		_ = s.Send(w.store.now(), driver.Envelope{ID: m.id, Kind: "work", Queue: m.queue}) // a new id
		for _, d := range s.Claim(w.store.now(), driver.Subscription{Lease: w.lease, Worker: "w0"}, m.queue, 1) {
			s.Settle(w.store.now(), false, driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected})
		}
	}
}

// discard discards a letter, or takes that back.
func (k *workbench) discard(letter int64, gone bool) {
	k.discarded[letter], k.marked[letter] = gone, k.w.steps
}

// copyBack is a planted fault: the letter's message is sent, and the letter stays.
func (k *workbench) copyBack(letter int64, by string) {
	k.w.accepted++
	id, queue, _ := k.w.store.shelf.Letter(letter)
	k.send(letter, driver.Envelope{ID: id, Kind: "work", Queue: queue}, by)
}

// putBack makes a dead letter a live message again.
func (k *workbench) putBack(letter int64, by string) {
	e, _ := k.w.store.shelf.TakeLetter(letter)
	k.send(letter, e, by)
}

func (k *workbench) send(letter int64, e driver.Envelope, by string) {
	w := k.w
	m := w.messages[e.ID]
	if err := w.store.shelf.Send(w.store.now(), e); err != nil {
		w.fail("operations", "send %s for %s: %v", e.ID, by, err)
	}
	w.note("%s is put back by %s, letter %d", e.ID, by, letter)
	m.dead, m.starts = false, 0
	m.lives++
	w.counts.Retried++
	if k.sent[letter]++; k.sent[letter] > 1 {
		w.fail("operations", "letter %d of %s was sent %d times, at last by %s", letter, e.ID, k.sent[letter], by)
	}
	w.store.wake()
}

// crowd is the queue in which messages of others wait; empty: in none.
func (k *workbench) crowd() string {
	if k.rush == 0 || k.w.now/k.rush%2 == 1 {
		return ""
	}
	return k.w.queues[0]
}

// work lets operators do what they do until faults heal.
func (k *workbench) work() {
	w := k.w
	for range k.planned {
		w.after(w.between(0, w.faulty*3/4), k.ask)
	}
	k.meddle()
	k.plague()
}

// ask asks for an operation on the letters that are dead by then.
func (k *workbench) ask() {
	w, s := k.w, k.w.store
	b := &bulk{action: retry}
	if len(k.bulks) > 0 && w.chance(0.4) {
		b.action = [...]string{remove, restore}[w.rng.IntN(2)]
	}
	b.course = operation.Course{State: operation.Freezing, Waits: b.action == retry}
	b.course.Canary = b.course.Waits && w.chance(0.6)
	if w.chance(0.3) {
		b.queue = w.queues[w.rng.IntN(len(w.queues))]
	}
	if w.chance(0.3) {
		b.course.Rate = 1 + 20*w.rng.Float64()
	}
	if w.chance(0.2) {
		b.course.Most = 1 + w.rng.IntN(10)
	}
	s.call(call{
		from: &k.operator, name: "start an operation",
		apply: func() {
			b.id, b.course.Until = fmt.Sprintf("op%d", len(k.bulks)+1), s.shelf.LastLetter()
			b.since = w.steps
			k.bulks = append(k.bulks, b)
			w.counts.Operations++
			w.note("%s begins: %s, letters up to %d, canary: %t, rate %.1f",
				b.id, b.action, b.course.Until, b.course.Canary, b.course.Rate)
		},
		done: func(error) { k.asked++ },
	})
}

// meddle lets somebody pause, resume or cancel an operation, or retry or discard a letter
// by hand, now and then, until faults have healed. Then somebody sees to all that is paused or has stopped.
func (k *workbench) meddle() {
	w := k.w
	w.after(w.between(500*time.Millisecond, 4*time.Second), func() {
		defer k.meddle()
		if w.healed {
			k.mend()
			return
		}
		if w.chance(0.3) {
			k.byHand()
			return
		}
		if len(k.bulks) == 0 {
			return
		}
		states := [...]operation.State{
			operation.Paused, operation.Paused, operation.Paused, operation.Running, operation.Running, operation.Running,
			operation.Running, operation.Cancelled,
		}
		b, to := k.bulks[w.rng.IntN(len(k.bulks))], states[w.rng.IntN(len(states))]
		w.store.call(call{
			from: &k.operator, name: "change " + b.id,
			apply: func() { k.turn(b, to) },
		})
	})
}

// mend resumes what is paused or has stopped, or cancels it.
func (k *workbench) mend() {
	const cancelled = 0.2
	cancel := k.w.chance(cancelled)
	k.w.store.call(call{
		from: &k.operator, name: "mend operations",
		apply: func() {
			for _, b := range k.bulks {
				switch {
				case b.course.State != operation.Paused && b.course.State != operation.Stopped:
				case cancel:
					k.turn(b, operation.Cancelled)
				default:
					k.turn(b, operation.Running)
				}
			}
		},
	})
}

// turn changes the state of an operation.
func (k *workbench) turn(b *bulk, to operation.State) {
	was := b.course.State
	if b.course.Turn(to, k.w.store.now()) != operation.Changed {
		return
	}
	k.w.note("%s was %s, and is %s", b.id, was, b.course.State)
	b.turned(was)
}

// byHand retries or discards a letter, wherever it is by now.
func (k *workbench) byHand() {
	w, s := k.w, k.w.store
	letter, discard := 1+w.rng.Int64N(max(s.shelf.LastLetter(), 1)), w.chance(0.5)
	s.call(call{
		from: &k.operator, name: "change a letter by hand",
		apply: func() {
			id, _, ok := s.shelf.Letter(letter)
			switch {
			case !ok, k.discarded[letter]:
			case discard:
				w.note("letter %d of %s is discarded", letter, id)
				k.discard(letter, true)
			case !s.shelf.IsLive(id):
				k.putBack(letter, "hand")
			}
		},
	})
}

// over reports whether nothing more will become of any operation.
func (k *workbench) over() bool {
	for _, b := range k.bulks {
		if !b.course.Over() {
			return false
		}
	}
	return k.asked == k.planned
}
