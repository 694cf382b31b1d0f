package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// Transact acknowledges the units and runs their effects: the group commit.
//
// The order inside the transaction is fixed: a savepoint, the unit's own
// settlement, its effect, the savepoint's release. A settlement that touches no
// row means a lost lease: the effect is not run. The release proves that the
// transaction still stands, so no effect can be committed without its
// settlement, nor a settlement without its effect, whatever a handler did to
// the transaction.
func (s *Store) Transact(ctx context.Context, units []driver.Unit) []error {
	g := &group{store: s, units: units, errs: make([]error, len(units))}
	defer g.run.close()
	for i := range units {
		g.todo = append(g.todo, i)
	}
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
}

// A fate is what became of a unit in the open transaction.
type fate uint8

// The fates.
const (
	kept    fate = iota // done, if the transaction commits
	dropped             // undone; the transaction stands
	wrecked             // the transaction is gone
)

// round runs one transaction with as many of the units as the budget allows.
// It returns an error when the store, not a unit, is at fault.
func (g *group) round(ctx context.Context, c Conn) error {
	first := g.units[g.todo[0]]
	raw, err := c.Begin(ctx, first.Alone)
	if err != nil {
		c.Rollback(ctx)
		return err
	}
	began, done, rest := time.Now(), []int(nil), g.todo
	g.dirty, g.seen = false, nil
	for len(rest) > 0 {
		i := rest[0]
		if i != g.todo[0] && g.full(len(done), first, g.units[i], began) {
			break
		}
		f, err := g.unit(ctx, c, raw, i)
		if err != nil {
			return g.fault(ctx, c, rest, err)
		}
		rest = rest[1:]
		if f == wrecked {
			c.Rollback(ctx)
			g.leave(ctx, c)
			g.again(rest, i)
			return nil
		}
		if f == kept {
			done = append(done, i)
		}
	}
	if g.mixed(ctx, c) {
		c.Rollback(ctx)
		g.again(rest, nobody)
	} else {
		g.commit(ctx, c, done, rest)
	}
	g.leave(ctx, c)
	return nil
}

// full reports whether the next unit has to wait for another transaction. A
// raw transaction is its handler's alone, even when the handler failed.
func (g *group) full(done int, first, next driver.Unit, began time.Time) bool {
	if g.dirty || g.alone || g.lonely(first) || g.lonely(next) {
		return true
	}
	return done > 0 && time.Since(began) > g.store.opts.GroupBudget
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
	err := c.Commit(ctx)
	if err == nil {
		g.todo = rest
		return
	}
	c.Rollback(ctx)
	switch {
	case g.store.SQL.Held != "" && g.store.Parts.Classify(err) == driver.ClassTransient:
		g.resolve(ctx, err, done, rest)
	case len(done) == 1:
		g.errs[done[0]], g.todo = fmt.Errorf("commit: %w", err), rest
	default:
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
	err = g.store.Engine.Write(ctx, func(ctx context.Context, q Session) (err error) {
		held, err = g.store.held(ctx, q, seq, claim)
		return err
	})
	return held, err
}

// unit settles one unit and runs its effect. The error is a fault of the store.
func (g *group) unit(ctx context.Context, c Conn, raw *sql.Tx, i int) (fate, error) {
	u := g.units[i]
	if u.Context.Err() != nil {
		g.errs[i] = context.Cause(u.Context)
		return dropped, nil
	}
	if _, _, err := splitToken(u.Delivery.Token); err != nil {
		g.errs[i] = err
		return dropped, nil
	}
	if _, err := c.Exec(ctx, g.store.SQL.Savepoint); err != nil {
		return dropped, err
	}
	standing, err := g.settle(ctx, c, u.Delivery)
	if err != nil {
		return dropped, err
	}
	if !standing {
		g.errs[i] = &driver.LeaseLostError{Lost: []driver.Delivery{u.Delivery}}
		return g.undo(ctx, c), nil
	}
	g.errs[i] = g.effect(c, i, raw)
	if g.errs[i] != nil {
		f := g.undo(ctx, c)
		if f == wrecked && g.store.Parts.Classify(g.errs[i]) == driver.ClassTransient {
			// The connection was lost while the handler read its rows.
			g.errs[i] = fmt.Errorf("%w: %w", driver.ErrUnavailable, g.errs[i])
		}
		return f, nil
	}
	if _, err := c.Exec(ctx, g.store.SQL.Release); err != nil {
		g.errs[i] = fmt.Errorf("%w: %w", driver.ErrTxEnded, err)
		return g.undo(ctx, c), nil // it stands if a statement failed and the handler kept silent about it
	}
	return kept, nil
}

// settle acknowledges the delivery in the transaction, and reports whether the
// claim still stood.
func (g *group) settle(ctx context.Context, c Conn, d driver.Delivery) (bool, error) {
	b := &settling{store: g.store, q: c}
	if err := b.ack(ctx, []driver.Delivery{d}); err != nil {
		return false, err
	}
	return len(b.lost) == 0, nil
}

// undo goes back to where the unit began. A transaction that cannot is gone.
func (g *group) undo(ctx context.Context, c Conn) fate {
	if _, err := c.Exec(ctx, g.store.SQL.RollbackTo); err != nil {
		return wrecked
	}
	if _, err := c.Exec(ctx, g.store.SQL.Release); err != nil {
		return wrecked
	}
	return dropped
}

// effect runs the unit's effect under the session guard and its deadline.
func (g *group) effect(c Conn, i int, raw *sql.Tx) error {
	u := g.units[i]
	ctx, cancel := u.Context, context.CancelFunc(func() {})
	if u.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, u.Timeout, driver.ErrTimeout)
	}
	defer cancel()
	user := c.User()
	t := newUnitTx(ctx, g.store, c, raw)
	user.Enter(t.life)
	g.seen = append(g.seen, i)
	limit := time.Duration(0)
	if u.Timeout > 0 {
		limit = u.Timeout + g.store.opts.StuckGrace
	}
	err := g.run.do(func() error { return u.Effect(ctx, t) }, limit)
	if dirty := t.end(); dirty != "" {
		g.dirty = true
		g.store.opts.Log.Warn(leftDirty, "kind", u.Delivery.Kind, "message_id", u.Delivery.ID, "cause", dirty)
	}
	if refused := user.Refused(); err == nil && refused != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("handler returned nil although %w", refused)
	}
	return err
}
