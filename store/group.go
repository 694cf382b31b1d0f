package store

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/ruling"
)

// Transact acknowledges the units and runs their effects: the group commit.
//
// A transaction is a row of spans. In each the claims of some units are settled
// first, by one statement, and then their effects run. A settlement that touches
// no row means a lost lease: the effect is not run. After each effect the
// transaction must still stand, so no effect can be committed
// without its settlement, nor a settlement without its effect, whatever a
// handler did to the transaction. When an effect fails, its span is undone, and
// the units of it run again, the failed one in a span of its own: what becomes of
// a unit is never decided by its neighbours.
func (s *Store) Transact(ctx context.Context, units []driver.Unit) []error {
	g := &group{
		store: s, units: units, errs: make([]error, len(units)), single: map[int]bool{}, slow: map[int]bool{},
	}
	defer g.run.close()
	for i := range units {
		g.todo = append(g.todo, i)
	}
	g.todo = g.slowLast(g.todo)
	for len(g.todo) > 0 {
		err := s.Engine.Exclusive(ctx, g.round)
		if err == nil {
			continue
		}
		for _, i := range g.todo {
			g.errs[i] = s.explain("transact", err)
		}
		break
	}
	return g.errs
}

// A group is the work of one Transact.
type group struct {
	store *Store
	units []driver.Unit
	errs  []error
	run   runner
	todo  []int // units that have no outcome yet
	alone bool  // the shared transaction failed: each unit has its own from now on
	dirty bool  // a handler left something in the session: nobody else may see it
	seen  []int // units whose effects have run in the open transaction

	single map[int]bool // units that have failed once, beside others
	slow   map[int]bool // units that have kept others waiting for too long
	saved  bool         // a savepoint stands
}

// round runs one transaction with as many of the units as the budget allows.
// It returns an error when the store, not a unit, is at fault.
func (g *group) round(ctx context.Context, c Conn) error {
	first := g.units[g.todo[0]]
	raw, err := c.Begin(ctx, first.Alone)
	if err != nil {
		c.Rollback(ctx)
		return err
	}
	began, done := time.Now(), []int(nil)
	g.dirty, g.seen, g.saved = false, nil, false
	for len(g.todo) > 0 {
		n := g.spanOf(len(done), first, began)
		if n == 0 {
			break
		}
		sp := &span{group: g, conn: c, raw: raw, units: g.todo[:n], nested: g.store.MustAsk || g.shares(n, done)}
		rest := g.todo[n:]
		switch f, err := sp.do(ctx); {
		case err != nil:
			return g.fault(ctx, c, err)
		case f == kept:
			done, g.todo = append(done, sp.ran...), rest
		case f == undone:
			g.todo = g.slowLast(append(sp.again, rest...))
		default:
			c.Rollback(ctx)
			g.leave(ctx, c)
			g.again(append(sp.again, rest...), sp.culprit)
			return nil
		}
	}
	rest := g.todo
	if g.mixed(ctx, c) {
		c.Rollback(ctx)
		g.again(rest, nobody)
	} else {
		g.commit(ctx, c, done, rest)
	}
	g.leave(ctx, c)
	return nil
}

// shares reports whether the next n units are in a transaction with others that
// must not be undone with them.
func (g *group) shares(n int, done []int) bool { return len(done) > 0 || n == 1 && len(g.todo) > 1 }

// spanOf is how many of the next units may be settled together; 0 says that they
// have to wait for another transaction. A raw transaction is its handler's alone,
// even when the handler failed.
func (g *group) spanOf(done int, first driver.Unit, began time.Time) int {
	started := len(g.seen) > 0 || done > 0
	if started && (g.dirty || g.alone || g.lonely(first) || g.lonely(g.units[g.todo[0]])) {
		return 0
	}
	if done > 0 && time.Since(began) > g.store.opts.GroupBudget {
		return 0
	}
	if g.alone || g.lonely(first) || g.apart(g.todo[0]) {
		return min(1, len(g.todo))
	}
	n := 0
	limit := g.store.width.get(g.store.Spans, g.store.opts.GroupBudget-time.Since(began))
	for ; n < min(limit, len(g.todo)); n++ {
		if i := g.todo[n]; g.lonely(g.units[i]) || n > 0 && g.apart(i) {
			break
		}
	}
	return n
}

// apart reports whether a unit has a span of its own: it has failed once beside
// others, or effects of its kind run what may end the transaction.
func (g *group) apart(i int) bool {
	return g.single[i] || g.store.Spans > 1 && g.store.enders.known(g.units[i].Delivery.Kind)
}

// commit ends a round. When a shared commit fails, nothing says whose fault it
// was, a deferred constraint for one: each unit runs again in a transaction of
// its own. A transaction whose commit failed may still be open, so it is rolled
// back.
func (g *group) commit(ctx context.Context, c Conn, done, rest []int) {
	if len(done) == 0 {
		c.Rollback(ctx)
		g.todo = rest
		return
	}
	failpoint.Pass(failpoint.BeforeCommit)
	err := c.Commit(ctx)
	if err == nil {
		failpoint.Pass(failpoint.AfterCommit)
		g.store.opts.Meter.Committed(len(done))
		g.todo = rest
		return
	}
	c.Rollback(ctx)
	unsure := g.store.SQL.Held != "" && g.store.Parts.Classify(err) == driver.ClassTransient
	switch ruling.OfCommit(unsure, len(done)) {
	case ruling.Ask:
		g.resolve(ctx, err, done, rest)
	case ruling.Fail:
		g.errs[done[0]], g.todo = fmt.Errorf("commit: %w", err), rest
	case ruling.Apart:
		g.alone, g.todo = true, append(done, rest...)
	}
}

// resolveFor bounds the time in which the outcome of a commit is asked for.
const resolveFor = 15 * time.Second

// resolve finds out what became of a commit whose connection was lost: the
// error is the same whether the server has heard of it or not. It asks on
// another connection, by a locking read, so that a backend that is still
// committing is waited for. All units of the transaction share its fate, so
// the first one tells.
func (g *group) resolve(ctx context.Context, lost error, done, rest []int) {
	ctx, cancel := context.WithTimeout(ctx, resolveFor)
	defer cancel()
	for pause := 10 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		held, err := g.held(ctx, g.units[done[0]].Delivery)
		if err != nil {
			sleep(ctx, pause)
			continue
		}
		g.todo = rest
		if held { // it was not committed
			g.alone, g.todo = true, append(done, rest...)
		} else {
			g.store.opts.Meter.Committed(len(done))
		}
		return
	}
	for _, i := range done {
		g.errs[i] = fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, lost)
	}
	g.todo = rest
}

// held reports whether the claim stands, which it does not once its
// acknowledgement was committed.
func (g *group) held(ctx context.Context, d driver.Delivery) (held bool, err error) {
	seq, claim, err := splitToken(d.Token)
	if err != nil {
		return false, err
	}
	err = g.store.write(ctx, func(ctx context.Context, q Session) (err error) {
		held, err = g.store.held(ctx, q, seq, claim)
		return err
	})
	return held, err
}
