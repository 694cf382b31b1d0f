package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/posthorn/posthorn/driver"
)

// errEffect is what a failing effect returns.
var errEffect = errors.New("the effect failed")

func transactTests() []subtest {
	return []subtest{
		{"commits effect and acknowledgement together", transactCommits},
		{"runs effects one after the other, in order", transactInOrder},
		{"undoes a failing effect alone, wherever it stands", transactOneFails},
		{"undoes every effect when all fail", transactAllFail},
		{"does not run the effect of a lost claim", transactLost},
		{"does not run the effect of a claim that ran out", transactExpired},
		{"does not begin a unit whose context has ended", transactEnded},
		{"ends an effect's context at its deadline", transactTimeout},
		{"takes the transaction away from an effect that is stuck", transactStuck},
		{"gives the raw transaction to a unit that runs alone", transactAlone},
		{"runs no units", transactNone},
		{"runs groups of several consumers at a time", transactConcurrent},
	}
}

func transactCommits(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 10)
	for i, err := range l.transact(l.units(ds)...) {
		l.committed(c, err, ds[i])
	}
	l.nothing(c)
}

func transactInOrder(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 20)
	var inside, next atomic.Int32
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.unit(d, func(context.Context, driver.Tx) error {
			defer inside.Add(-1)
			if inside.Add(1) != 1 || next.Add(1) != int32(i+1) {
				return errEffect
			}
			return nil
		})
	}
	for i, err := range l.transact(us...) {
		l.committed(c, err, ds[i])
	}
}

func transactOneFails(r *rig) {
	l, c := newLedger(r), r.consume()
	const n = 10
	for bad := range n {
		ds := l.claims(c, fmt.Sprint("bad-", bad), n)
		us := l.units(ds)
		us[bad] = l.unit(ds[bad], func(context.Context, driver.Tx) error { return errEffect })
		errs := l.transact(us...)
		if !errors.Is(errs[bad], errEffect) {
			l.Errorf("unit %d returned %v, want its effect's error", bad, errs[bad])
		}
		l.undone(c, ds[bad])
		for i, d := range ds {
			if i != bad {
				l.committed(c, errs[i], d)
			}
		}
		l.settle(c, verdicts(driver.Release, ds[bad])...)
		d := l.wants(c, ds[bad].ID)
		if d.Attempt != 0 || d.Crashes != 0 {
			l.Errorf("attempt %d, crashes %d, want 0 and 0", d.Attempt, d.Crashes)
		}
		l.ack(c, d)
	}
}

func transactAllFail(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "bad", 5)
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.unit(d, func(context.Context, driver.Tx) error { return fmt.Errorf("%s: %w", d.ID, errEffect) })
	}
	for i, err := range l.transact(us...) {
		if !errors.Is(err, errEffect) || err.Error() != ds[i].ID+": "+errEffect.Error() {
			l.Errorf("unit %d returned %v, want its own effect's error", i, err)
		}
		l.undone(c, ds[i])
	}
}

func transactLost(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 5)
	l.ack(c, ds[1])
	l.settle(c, verdicts(driver.Release, ds[3])...)
	errs := l.transact(l.units(ds)...)
	for i, d := range ds {
		if i != 1 && i != 3 {
			l.committed(c, errs[i], d)
			continue
		}
		l.lost(errs[i], d)
		if n := l.marks(d.ID); n != 0 {
			l.Errorf("the effect of lost %s was committed", d.ID)
		}
	}
	l.ack(c, l.wants(c, ds[3].ID))
}

func transactExpired(r *rig) {
	l := newLedger(r)
	slow, heir := r.consumeFor(brief), r.consume()
	d := l.claims(slow, "slow", 1)[0]
	fresh := l.wants(heir, d.ID)
	var ran atomic.Bool
	errs := l.transact(l.unit(d, func(context.Context, driver.Tx) error { ran.Store(true); return nil }))
	l.lost(errs[0], d)
	if ran.Load() {
		l.Error("the effect of a lost claim was run")
	}
	l.committed(heir, l.transact(l.unit(fresh, nil))[0], fresh)
}

func transactEnded(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 3)
	us := l.units(ds)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(driver.ErrShutdown)
	us[1].Context = ctx
	errs := l.transact(us...)
	if !errors.Is(errs[1], driver.ErrShutdown) {
		l.Errorf("unit returned %v, want the cause of its context's end", errs[1])
	}
	l.undone(c, ds[1])
	l.committed(c, errs[0], ds[0])
	l.committed(c, errs[2], ds[2])
}

func transactTimeout(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 2)
	us := l.units(ds)
	us[0] = l.unit(ds[0], func(ctx context.Context, _ driver.Tx) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	us[0].Timeout = glance
	errs := l.transact(us...)
	if !errors.Is(errs[0], driver.ErrTimeout) {
		l.Errorf("unit returned %v, want %v", errs[0], driver.ErrTimeout)
	}
	l.undone(c, ds[0])
	l.committed(c, errs[1], ds[1])
}

func transactStuck(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 2)
	us := l.units(ds)
	free, late := make(chan struct{}), make(chan error, 1)
	us[0] = l.unit(ds[0], func(_ context.Context, tx driver.Tx) error {
		<-free
		_, err := tx.ExecContext(context.Background(), l.insert, ds[0].ID)
		late <- err
		return nil
	})
	us[0].Timeout = glance
	errs := l.transact(us...)
	var stuck *driver.StuckError
	if !errors.As(errs[0], &stuck) {
		close(free)
		l.Fatalf("unit returned %v, want a stuck effect", errs[0])
	}
	l.committed(c, errs[1], ds[1])
	l.undone(c, ds[0])
	close(free)
	<-stuck.Done
	if err := <-late; !errors.Is(err, driver.ErrTxDone) {
		l.Errorf("a statement after that returned %v, want %v", err, driver.ErrTxDone)
	}
	l.undone(c, ds[0])
}

func transactAlone(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 4)
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.unit(d, func(_ context.Context, tx driver.Tx) error {
			if (tx.SQL() != nil) != (i%2 == 1) {
				return errEffect
			}
			return nil
		})
		us[i].Alone = i%2 == 1
	}
	us[3].Effect = func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.SQL().ExecContext(ctx, l.insert, ds[3].ID)
		return err
	}
	for i, err := range l.transact(us...) {
		l.committed(c, err, ds[i])
	}
}

func transactNone(r *rig) { newLedger(r).transact() }

func transactConcurrent(r *rig) {
	l := newLedger(r)
	const consumers, each = 4, 15
	l.send(envs("unit", consumers*each)...)
	var waits []func()
	var all []driver.Delivery
	errs := make([][]error, consumers)
	for i := range consumers {
		ds := l.receive(r.consume(), each)
		all = append(all, ds...)
		waits = append(waits, start(func() { errs[i] = l.roles.Transactor.Transact(r.soon(), l.units(ds)) }))
	}
	for _, wait := range waits {
		wait()
	}
	for i, err := range slices.Concat(errs...) {
		if err != nil || l.marks(all[i].ID) != 1 {
			l.Errorf("unit %s returned %v and has %d effects", all[i].ID, err, l.marks(all[i].ID))
		}
	}
	l.nothing(r.consume())
}
