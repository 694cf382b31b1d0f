package store

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/driver"
)

// Handlers may leave traces in the session of their transaction: a setting, a
// temporary table, a lock. Not even a setting that ends with the transaction
// may reach another message, and nobody but the server knows what a function
// or a trigger has done. So a transaction that handlers share is inspected
// before it is committed. Where it has traces, nobody knows whose they are and
// whom they have misled: it is rolled back, and each unit runs again alone. The
// kinds that leave traces are remembered, and share no more.

// leftDirty is the log's line for a handler whose connection is given up.
const leftDirty = "session left dirty: connection destroyed"

// trustAfter is how many times in a row a kind that has left traces must leave
// none until it may share transactions again.
const trustAfter = 100

// traces are the kinds whose handlers have left some, or done something else for
// which they had better run alone. It is safe for concurrent use.
type traces struct {
	some  atomic.Int32 // how many kinds there are
	mu    sync.Mutex
	kinds map[string]int // how often they still have to leave none
}

// known reports whether handlers of a kind are expected to leave traces.
func (t *traces) known(kind string) bool {
	if t.none() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kinds[kind] > 0
}

// none reports whether no kind is known.
func (t *traces) none() bool { return t.some.Load() == 0 }

// note takes down whether a handler of a kind has left traces.
func (t *traces) note(kind string, left bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.some.Store(int32(len(t.kinds))) }()
	switch {
	case left && t.kinds == nil:
		t.kinds = map[string]int{kind: trustAfter}
	case left:
		t.kinds[kind] = trustAfter
	case t.kinds[kind] > 1:
		t.kinds[kind]--
	default:
		delete(t.kinds, kind)
	}
}

// lonely reports whether a unit may not share a transaction.
func (g *group) lonely(u driver.Unit) bool {
	kind := u.Delivery.Kind
	return u.Alone || g.store.traces.known(kind) || g.store.slow.known(kind)
}

// mixed inspects the session before the commit, and reports whether it has
// traces that nobody can be charged with.
func (g *group) mixed(ctx context.Context, c Conn) bool {
	switch len(g.seen) {
	case 0:
		return false
	case 1:
		if g.dirty {
			return false
		}
	default:
		return c.Inspect(ctx) != ""
	}
	kind := g.units[g.seen[0]].Delivery.Kind
	if g.alone || g.store.traces.known(kind) {
		g.store.traces.note(kind, c.Inspect(ctx) != "")
	}
	return false
}

// nobody is no unit's index.
const nobody = -1

// again makes all that ran in the transaction run again, each alone, before the
// rest: those that failed, too, since a neighbour's traces may be why. The
// culprit, who ended the transaction, has had its chance, and an effect that is
// stuck is still running.
func (g *group) again(rest []int, culprit int) {
	all := slices.Concat(g.seen, rest)
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(i int) bool {
		return i == culprit || isStuck(g.errs[i])
	})
	g.alone, g.todo, g.seen = true, g.slowLast(all), nil
}

// fault ends a round in which a statement of Posthorn's own failed. It is the
// store's fault only where no handler was in the transaction before.
func (g *group) fault(ctx context.Context, c Conn, err error) error {
	c.Rollback(ctx)
	if len(g.seen) == 0 {
		return err
	}
	g.again(g.todo, nobody)
	g.leave(ctx, c)
	return nil
}

// leave inspects the session after the end of a transaction, and names the
// handler that has left something.
func (g *group) leave(ctx context.Context, c Conn) {
	left := c.Inspect(ctx)
	if left == "" {
		return
	}
	var kinds, ids []string
	for _, i := range g.seen {
		d := g.units[i].Delivery
		g.store.traces.note(d.Kind, true)
		ids = append(ids, d.ID)
		if !slices.Contains(kinds, d.Kind) {
			kinds = append(kinds, d.Kind)
			g.store.opts.Meter.LeftDirty(d.Kind)
		}
	}
	if len(kinds) > 0 {
		g.store.opts.Log.Warn(leftDirty,
			"kind", strings.Join(kinds, ","), "message_id", strings.Join(ids, ","), "cause", left)
	}
}
