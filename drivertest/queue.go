package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/driver"
)

// queueing is a unit that queues its mark instead of writing it.
func (l *ledger) queueing(d driver.Delivery, also func(ctx context.Context, tx driver.Tx) error) driver.Unit {
	return driver.Unit{Delivery: d, Context: l.soon(), Effect: func(ctx context.Context, tx driver.Tx) error {
		if err := tx.Queue(ctx, l.insert, d.ID); err != nil || also == nil {
			return err
		}
		return also(ctx, tx)
	}}
}

// queueingAll are units that queue their marks, one of them with something else.
func (l *ledger) queueingAll(
	ds []driver.Delivery, odd int, also func(ctx context.Context, tx driver.Tx) error,
) []driver.Unit {
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.queueing(d, nil)
	}
	us[odd] = l.queueing(ds[odd], also)
	return us
}

// allBut checks that one unit was undone and all others committed.
func (l *ledger) allBut(odd int, c driver.Consumer, errs []error, ds []driver.Delivery) {
	l.Helper()
	for i, d := range ds {
		if i != odd {
			l.committed(c, errs[i], d)
		}
	}
	l.undone(c, ds[odd])
	l.settle(c, verdicts(driver.Release, ds[odd])...)
	l.ack(c, l.wants(c, ds[odd].ID))
}

func txQueues(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 30)
	seen := 0
	var kept driver.Tx
	us := l.queueingAll(ds, 11, func(ctx context.Context, tx driver.Tx) error {
		kept = tx
		return tx.QueryRowContext(ctx, l.count, ds[11].ID).Scan(&seen)
	})
	us[7] = l.queueing(ds[7], func(context.Context, driver.Tx) error { return errEffect })
	errs := l.transact(us...)
	if !errors.Is(errs[7], errEffect) {
		l.Errorf("unit 7 returned %v, want its effect's error", errs[7])
	}
	l.allBut(7, c, errs, ds)
	if seen != 0 {
		l.Error("a queued statement ran before its effect had returned")
	}
	if err := kept.Queue(l.soon(), l.insert, "late"); !errors.Is(err, driver.ErrTxDone) {
		l.Errorf("queued after the effect: %v, want %v", err, driver.ErrTxDone)
	}
}

func txQueuedFails(r *rig) {
	l, c := newLedger(r), r.consume()
	for _, bad := range []int{0, 3, 9} {
		ds := l.claims(c, fmt.Sprint("unit-", bad), 10)
		errs := l.transact(l.queueingAll(ds, bad, func(ctx context.Context, tx driver.Tx) error {
			return tx.Queue(ctx, "insert into nowhere values (1)")
		})...)
		if errs[bad] == nil {
			l.Errorf("unit %d with a queued statement that fails returned nil", bad)
		}
		l.allBut(bad, c, errs, ds)
	}
}

func txQueueRefuses(r *rig) {
	l, c := newLedger(r), r.consume()
	for i, text := range endings() {
		ds := l.claims(c, fmt.Sprint("ending-", i), 4)
		errs := l.transact(l.queueingAll(ds, 2, func(ctx context.Context, tx driver.Tx) error {
			_ = tx.Queue(ctx, text)
			return nil
		})...)
		if !errors.Is(errs[2], driver.ErrTxRefused) {
			l.Errorf("%q was queued: %v, want %v", text, errs[2], driver.ErrTxRefused)
		}
		l.allBut(2, c, errs, ds)
	}
}
