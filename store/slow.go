package store

import (
	"errors"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// An effect in a shared transaction makes its neighbours wait: for its statements,
// and with locks held. Options.SlowEffect bounds that. At the bound the context of
// the effect ends, what it did is undone, the neighbours are committed, and then it
// runs again, in a transaction of its own and under its own deadline alone. Its kind
// is remembered, and shares no more, like one that leaves traces.

// errSlow: an effect has used up the time that others wait for it. It never leaves
// the package.
var errSlow = errors.New("effect runs longer than its neighbours may wait")

// within is how long an effect may run, and what ends its context then; 0 means
// without end.
func (g *group) within(u driver.Unit) (time.Duration, error) {
	bound := g.store.opts.SlowEffect
	shared := len(g.units) > 1 && !g.alone && !g.lonely(u)
	if shared && bound > 0 && (u.Timeout == 0 || bound < u.Timeout) {
		return bound, errSlow
	}
	return u.Timeout, driver.ErrTimeout
}

// isStuck reports whether an effect has not returned.
func isStuck(err error) bool {
	var stuck *driver.StuckError
	return errors.As(err, &stuck)
}

// slowly reports whether the effect of unit i, whose context has ended for cause, has run
// into the bound, and has returned. What it returned then is not believed: a statement that was cut off may
// have been swallowed.
func (g *group) slowly(cause error, i int, err error) bool {
	if !errors.Is(cause, errSlow) || isStuck(err) {
		return false
	}
	g.slow[i] = true
	g.store.slow.note(g.units[i].Delivery.Kind, true)
	return true
}

// recall notes how long an effect of a kind that has been slow took now.
func (g *group) recall(u driver.Unit, began time.Time) {
	if g.store.slow.known(u.Delivery.Kind) {
		g.store.slow.note(u.Delivery.Kind, time.Since(began) > g.store.opts.SlowEffect)
	}
}

// slowLast puts the units that are slow, or of a kind that has been, behind the
// others.
func (g *group) slowLast(todo []int) []int {
	if len(g.slow) == 0 && g.store.slow.none() {
		return todo
	}
	late := func(i int) bool { return g.slow[i] || g.store.slow.known(g.units[i].Delivery.Kind) }
	slices.SortStableFunc(todo, func(a, b int) int {
		switch {
		case late(a) == late(b):
			return 0
		case late(b):
			return -1
		}
		return 1
	})
	return todo
}
