package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/operation"
)

// An executor carries operations on, as failure.Executor does, and remembers nothing that is not
// in the store. Each that it holds has steps of its own, one after the other.
type executor struct {
	life
	bench *workbench
	place int
	name  string
	share operation.Share
	felt  time.Duration // when it has looked last whether others wait
}

// A hold is an operation that an executor believes to hold.
type hold struct {
	b     *bulk
	by    *executor
	fence int64
	pace  operation.Pace
	duty  operation.Duty
	watch operation.Watch
	wants bool // letters wait for their turn, as far as it knows
}

// Waits of an executor.
const (
	feelEvery = 250 * time.Millisecond
	stepTakes = 5 * time.Millisecond // in the store
)

// hire starts the executor of a place, or its successor.
func (k *workbench) hire(place, nth int) {
	e := &executor{life: life{w: k.w}, bench: k, place: place, name: fmt.Sprintf("executor %d.%d", place+1, nth)}
	e.share = operation.NewShare()
	k.executors = append(k.executors, e)
	k.w.note("%s starts", e.name)
	e.look()
}

// plague lets executors be killed, paused or replaced until faults heal.
func (k *workbench) plague() {
	w := k.w
	w.after(w.between(0, w.faulty/5), func() {
		if w.healed {
			return
		}
		k.plague()
		if len(k.executors) == 0 {
			return
		}
		e := k.executors[w.rng.IntN(len(k.executors))]
		if e.dead {
			return
		}
		if w.chance(0.5) {
			d := w.between(100*time.Millisecond, 3*k.lease)
			w.note("%s is paused for %s", e.name, d)
			e.pause(d)
			return
		}
		e.end(w.chance(0.3))
	})
}

// end is the end of an executor: it is killed, or gives back what it holds. Another one is
// started in its place.
func (e *executor) end(clean bool) {
	k, w := e.bench, e.w
	w.note("%s ends, clean: %t", e.name, clean)
	e.dead = true
	for _, b := range k.bulks {
		if h := b.owner; clean && h != nil && h.by == e {
			h.giveBack()
		}
	}
	nth := 1
	for _, other := range k.executors {
		if other.place == e.place {
			nth++
		}
	}
	w.after(w.between(200*time.Millisecond, 3*time.Second), func() { k.hire(e.place, nth) })
}

// look takes what nobody carries on, now and then.
func (e *executor) look() {
	k, s := e.bench, e.w.store
	var free []*bulk
	s.call(call{
		from: &e.life, name: "look for operations by " + e.name,
		apply: func() {
			for _, b := range k.bulks {
				if b.course.Active() && b.lease.Free(s.now()) {
					free = append(free, b)
				}
			}
		},
		done: func(err error) {
			e.after(e.w.between(500*time.Millisecond, 2*time.Second), e.look)
			if err != nil {
				return
			}
			for _, b := range free {
				e.take(b)
			}
		},
	})
}

// take takes an operation if it is still free.
func (e *executor) take(b *bulk) {
	k, s := e.bench, e.w.store
	h := &hold{b: b, by: e, watch: operation.Watch{Lease: k.lease}}
	took := false
	s.call(call{
		from: &e.life, name: "take " + b.id,
		apply: func() {
			if !b.course.Active() || !b.lease.Take(e.name, k.lease, s.now()) {
				return
			}
			took, h.fence = true, b.lease.Fence
			k.w.note("%s takes %s, fence %d", e.name, b.id, h.fence)
			k.judgeTake(h)
		},
		done: func(err error) {
			if err == nil && took {
				h.advance()
			}
		},
	})
}

// feel looks now and then whether others wait, and returns the share of each operation.
func (e *executor) feel() float64 {
	n := 0
	for _, b := range e.bench.bulks {
		if b.owner != nil && b.owner.by == e && b.owner.wants {
			n++
		}
	}
	if now := e.w.now; n > 0 && now-e.felt >= feelEvery {
		e.felt = now
		e.share.Hear(e.bench.crowd())
	}
	return e.share.Of(n)
}

// advance takes one step, and the next one after it.
func (h *hold) advance() {
	var got pass
	share := h.by.feel()
	g := gait{pace: h.pace, rest: !h.duty.Begin(at(h.by.w.now), share)}
	h.by.w.store.call(call{
		from: &h.by.life, name: "advance " + h.b.id,
		apply: func() { got = h.by.bench.step(h, g) },
		done:  func(err error) { h.stepped(err, got, share) },
	})
}

// stepped goes on after a step.
func (h *hold) stepped(err error, got pass, share float64) {
	e := h.by
	switch {
	case err != nil: // it may have been done: the next one begins with what the store holds
		e.after(e.w.between(50*time.Millisecond, time.Second), h.advance)
	case errors.Is(got.err, errFenced):
		e.w.counts.Fenced++
		e.w.note("%s has lost %s", e.name, h.b.id)
	case got.err != nil:
		h.pace.Failed(e.bench.bounds)
		e.after(e.w.between(0, time.Second), h.advance)
	case !got.active:
		h.giveBack()
	default:
		h.pace.Well()
		h.wants = got.wants
		now := at(e.w.now)
		h.duty.End(now, stepTakes, got.sight)
		wait := h.watch.After(got.sight, got.wait, e.w.between(0, stepTakes))
		if h.wants && !h.duty.Allows(now, share) {
			wait = h.watch.Patience(got.sight, h.duty.Rest(now, share))
		}
		e.after(wait, h.advance)
	}
}

// giveBack ends a hold, so that others need not wait for the end of its lease.
func (h *hold) giveBack() {
	b, w := h.b, h.by.w
	w.store.call(call{
		from: &h.by.life, name: "give back " + b.id,
		apply: func() {
			if b.lease.GiveBack(h.fence) {
				w.note("%s gives %s back", h.by.name, b.id)
				if b.owner != h {
					w.fail("operations", "%s gives %s back, and has lost it", h.by.name, b.id)
				}
				b.until = time.Time{}
			}
		},
	})
}
