package mysql_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// commitSizes are how many effects each transaction has committed.
type commitSizes struct {
	store.Meter
	mu sync.Mutex
	of []int
}

// Committed notes a transaction.
func (c *commitSizes) Committed(effects int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of = append(c.of, effects)
}

// LeftDirty and Crashed are nothing to it.
func (*commitSizes) LeftDirty(string) {}

// Crashed is nothing to it.
func (*commitSizes) Crashed(int) {}

// transact runs one effect for each of n messages and wants them done.
func (r *rig) transact(n int, also effect) {
	r.Helper()
	ds := r.claims(n)
	units := make([]driver.Unit, n)
	for i, d := range ds {
		units[i] = r.unit(d, also)
	}
	for i, err := range r.store.Transact(r.soon(), units) {
		r.committed(ds[i], err)
	}
}

// widened is a rig whose spans have become wider than they begin, and their sizes.
func widened(t *testing.T, o store.Options) (*rig, *commitSizes) {
	t.Helper()
	d, c := servers.MariaDB(t), &commitSizes{}
	o.Meter, o.GroupBudget = c, 250*time.Millisecond
	r := newRigAt(t, d.Server, d.Name, o)
	for c.of = []int{0}; slices.Max(c.of) < 12; {
		r.transact(50, nothing)
	}
	c.of = nil
	return r, c
}

// lasting is an effect that takes a while.
func lasting(d time.Duration) effect {
	return func(ctx context.Context, _ driver.Tx) error {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		return nil
	}
}

// A span is settled before its effects run, and none of it can be left for another
// transaction. So it is no wider than the budget of a transaction, as far as is known.
func TestASpanOfSlowEffectsIsNarrow(t *testing.T) {
	t.Parallel()
	r, c := widened(t, store.Options{})
	r.transact(40, lasting(50*time.Millisecond))
	if late := c.of[len(c.of)-1]; late > 8 {
		t.Errorf("transactions of effects that take 50 ms had %v, want 250 ms a transaction in the end", c.of)
	}
}

// What was quick is slow all of a sudden: a span that takes too long is undone, for which
// nobody is to blame, and its units run again in narrower ones.
func TestASpanThatTakesTooLongIsUndone(t *testing.T) {
	t.Parallel()
	r, c := widened(t, store.Options{SlowEffect: 100 * time.Millisecond})
	runs, slow := 0, lasting(80*time.Millisecond)
	r.transact(12, func(ctx context.Context, tx driver.Tx) error {
		runs++
		return slow(ctx, tx)
	})
	if runs <= 12 || slices.Max(c.of) > 5 {
		t.Errorf("12 messages ran %d times, in transactions of %v, want some twice, and 250 ms a transaction", runs, c.of)
	}
}

// A handler that calls a procedure is refused it beside others that are settled, runs
// again apart from them, and the next of its kind does so at once.
func TestWhoCallsAProcedureRunsApart(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	r := newRigAt(t, d.Server, d.Name, store.Options{GroupBudget: time.Minute}) // however slow: they are beside others
	r.exec(`create procedure harmless() insert into effect values ('called')`)
	calls := 0
	call := func(ctx context.Context, tx driver.Tx) error {
		calls++
		_, _ = tx.ExecContext(ctx, `call harmless()`) // it swallows that it is refused
		return nil
	}
	r.transact(20, nothing)
	r.transact(5, call)
	if n := r.marks("called"); n != 5 || calls != 6 {
		t.Errorf("5 messages made %d calls in %d runs, want 5 in 6: one is refused and remembered", n, calls)
	}
	r.transact(5, call)
	if n := r.marks("called"); n != 10 || calls != 11 {
		t.Errorf("10 messages made %d calls in %d runs, want 10 in 11", n, calls)
	}
}
