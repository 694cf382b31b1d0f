package sim

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/worker/verdict"
)

// resolveFor bounds the time in which the outcome of a commit is asked for.
const resolveFor = 15 * time.Second

// A transaction settles some units, and runs their effects.
type transaction struct {
	s     *store
	from  *process
	units []*parcel
	errs  []error
	ran   []int         // units whose effects have run
	until time.Duration // a backend of it is at work until then
	asked time.Duration // since when its outcome is asked for
	done  func(errs []error)
}

// transact begins one.
func (s *store) transact(from *process, units []*parcel, done func(errs []error)) {
	t := &transaction{s: s, from: from, units: units, errs: make([]error, len(units)), done: done}
	luck := s.fortune(false)
	s.w.after(s.travel(), func() {
		if from.dead && s.w.chance(0.5) {
			return
		}
		if s.down > s.w.now || luck == refused {
			t.all(errAway)
			t.answer()
			return
		}
		t.effects()
		t.commit(luck)
	})
}

// effects settles the units and runs their effects, as far as anybody can see before the
// commit.
func (t *transaction) effects() {
	for i, p := range t.units {
		switch {
		case p.cause != nil:
			t.errs[i] = p.cause
		case !t.s.shelf.Held(p.d.Token):
			t.s.w.counts.Stale++
			t.errs[i] = &driver.LeaseLostError{Lost: []driver.Delivery{p.d}}
		default:
			err := p.effect()
			if t.errs[i] = verdict.Own(err); err == nil {
				t.ran = append(t.ran, i)
			}
		}
	}
}

// commit ends it, as the network wants.
func (t *transaction) commit(luck fortune) {
	w := t.s.w
	if len(t.ran) == 0 {
		t.answer()
		return
	}
	if luck == answered || luck == unheard {
		t.s.apply(t.write)
	}
	if luck == belated {
		late := w.between(0, 6*time.Second)
		t.until = w.now + late
		w.after(late, func() {
			if t.s.down <= w.now {
				t.s.apply(t.write)
			}
		})
	}
	if luck == answered {
		t.answer()
		return
	}
	w.counts.Cut++
	w.note("commit of %d units by %s: connection lost", len(t.ran), t.from.id)
	t.from.after(t.s.travel(), t.failed)
}

// write makes it true.
func (t *transaction) write() {
	for _, i := range t.ran {
		p := t.units[i]
		ack := driver.Settlement{Delivery: p.d, Verdict: driver.Ack}
		if mutant.AckFirst {
			t.s.settle(p.isolated, ack)
			if !t.s.w.fault(0.1) {
				t.s.effect(p)
			}
			continue
		}
		if t.s.settle(p.isolated, ack) {
			t.s.effect(p)
		}
	}
}

// effect is what a handler has written.
func (s *store) effect(p *parcel) {
	s.w.note("effect of %s by %s", p.d.ID, p.worker.id)
	if s.effects[p.d.ID]++; s.effects[p.d.ID] > 1 {
		s.w.fail("S1", "%s has %d committed effects", p.d.ID, s.effects[p.d.ID])
	}
}

// failed goes on after a commit that returned an error.
func (t *transaction) failed() {
	switch ruling.OfCommit(true, len(t.ran)) {
	case ruling.Ask:
		t.asked = t.s.w.now
		t.ask()
	case ruling.Fail:
		t.some(fmt.Errorf("commit: %w", errAway))
		t.answer()
	case ruling.Apart:
		t.apart(t.ran)
	}
}

// ask asks on another connection, by a locking read, which waits for a backend that may
// be committing still.
func (t *transaction) ask() {
	w, held := t.s.w, false
	if w.now-t.asked > resolveFor {
		w.counts.Unknown++
		t.some(fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, errAway))
		t.answer()
		return
	}
	t.from.after(max(t.until-w.now, 0), func() {
		t.s.call(call{
			from: &t.from.life, name: "ask for a commit",
			apply: func() { held = t.s.shelf.Held(t.units[t.ran[0]].d.Token) },
			done: func(err error) {
				switch {
				case err != nil:
					t.from.after(200*time.Millisecond, t.ask)
				case held: // it was not committed
					w.counts.Undone++
					w.note("%s was not committed", t.units[t.ran[0]].d.ID)
					t.apart(t.ran)
				default:
					w.note("%s was committed", t.units[t.ran[0]].d.ID)
					t.answer()
				}
			},
		})
	})
}

// apart runs units again, each in a transaction of its own.
func (t *transaction) apart(units []int) {
	if len(units) == 0 {
		t.answer()
		return
	}
	i := units[0]
	t.s.transact(t.from, t.units[i:i+1], func(errs []error) {
		t.errs[i] = errs[0]
		t.apart(units[1:])
	})
}

// all gives all units an error, and some those whose effects have run.
func (t *transaction) all(err error) {
	for i := range t.errs {
		t.errs[i] = err
	}
}

func (t *transaction) some(err error) {
	for _, i := range t.ran {
		t.errs[i] = err
	}
}

// answer tells the worker.
func (t *transaction) answer() {
	t.from.after(t.s.travel(), func() { t.done(t.errs) })
}
