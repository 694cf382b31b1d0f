package drivertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/driver"
)

func txTests() []subtest {
	return []subtest{
		{"sees its own changes, and shows them to nobody before the commit", txIsolated},
		{"sends in the same transaction", txSends},
		{"is dead when the effect has returned", txDead},
		{"gives an error to a goroutine that outlives its effect", txOutlived},
		{"closes rows and statements that were left open", txLeftOpen},
		{"refuses statements that would end the transaction", txRefuses},
		{"commits no half when a refusal is swallowed", txSwallowsRefusal},
		{"commits no half when an error is swallowed", txSwallowsError},
		{"refuses to send what Send refuses", txSendRefused},
		{"runs queued statements in the same transaction", txQueues},
		{"lets a queued statement fail its unit alone", txQueuedFails},
		{"commits no half when a queued statement would end the transaction", txQueueRefuses},
	}
}

func txIsolated(r *rig) {
	l, c := newLedger(r), r.consume()
	d := l.claims(c, "unit", 1)[0]
	var inside, outside int
	err := l.transact(l.unit(d, func(ctx context.Context, tx driver.Tx) error {
		if err := tx.QueryRowContext(ctx, l.count, d.ID).Scan(&inside); err != nil {
			return err
		}
		return l.DB.QueryRowContext(ctx, l.count, d.ID).Scan(&outside)
	}))[0]
	l.committed(c, err, d)
	if inside != 1 || outside != 0 {
		l.Errorf("the effect saw %d marks, others saw %d; want 1 and 0", inside, outside)
	}
}

func txSends(r *rig) {
	l, c, there := newLedger(r), r.consume(), r.consume("there")
	ds := l.claims(c, "unit", 3)
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.unit(d, func(ctx context.Context, tx driver.Tx) error {
			next := env("next-of-" + d.ID)
			next.Queue = "there"
			if err := tx.Send(ctx, next); err != nil || i != 1 {
				return err
			}
			return errEffect
		})
	}
	errs := l.transact(us...)
	l.committed(c, errs[0], ds[0])
	l.undone(c, ds[1])
	l.committed(c, errs[2], ds[2])
	l.ordered(there, "next-of-"+ds[0].ID, "next-of-"+ds[2].ID)
	l.nothing(there)
}

// dead tries all that a transaction can do, which must be refused.
func (l *ledger) dead(tx driver.Tx) error {
	ctx := context.Background()
	_, exec := tx.ExecContext(ctx, l.insert, "ghost")
	rows, query := tx.QueryContext(ctx, l.count, "ghost")
	stmt, prepare := tx.PrepareContext(ctx, l.insert)
	var n int
	all := map[string]error{
		"exec": exec, "query": query, "prepare": prepare,
		"query row": tx.QueryRowContext(ctx, l.count, "ghost").Scan(&n),
		"send":      tx.Send(ctx, env("ghost")),
	}
	if rows != nil {
		_ = errors.Join(rows.Close(), rows.Err())
	}
	if stmt != nil {
		_ = stmt.Close()
	}
	var wrong error
	for name, err := range all {
		if !errors.Is(err, driver.ErrTxDone) {
			wrong = errors.Join(wrong, fmt.Errorf("%s returned %w, want %w", name, err, driver.ErrTxDone))
		}
	}
	return wrong
}

func txDead(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 2)
	var kept driver.Tx
	keep := l.unit(ds[0], func(_ context.Context, tx driver.Tx) error { kept = tx; return nil })
	next := l.unit(ds[1], func(context.Context, driver.Tx) error { return l.dead(kept) })
	for i, err := range l.transact(keep, next) {
		l.committed(c, err, ds[i])
	}
	if err := l.dead(kept); err != nil {
		l.Error(err)
	}
	if n := l.marks("ghost"); n != 0 {
		l.Errorf("a dead transaction left %d marks", n)
	}
	l.nothing(c)
}

func txOutlived(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 6)
	var waits []func() // one for each run: an effect may run again
	us := make([]driver.Unit, len(ds))
	for i, d := range ds {
		us[i] = l.unit(d, func(_ context.Context, tx driver.Tx) error {
			waits = append(waits, start(func() { l.untilDone(tx) }))
			return nil
		})
	}
	us[3] = l.unit(ds[3], func(_ context.Context, tx driver.Tx) error {
		waits = append(waits, start(func() { l.untilDone(tx) }))
		return errEffect
	})
	errs := l.transact(us...)
	for _, wait := range waits {
		wait()
	}
	for i, d := range ds {
		l.whole(c, errs[i], d)
	}
	if !errors.Is(errs[3], errEffect) {
		l.Errorf("unit returned %v, want its effect's error", errs[3])
	}
}

// untilDone uses a transaction until it is dead. What it reads before that is
// of its own effect.
func (l *ledger) untilDone(tx driver.Tx) {
	ctx := l.soon()
	for ctx.Err() == nil {
		var n int
		err := tx.QueryRowContext(ctx, l.count, "nobody").Scan(&n)
		if errors.Is(err, driver.ErrTxDone) {
			return
		}
	}
	l.Error("the transaction outlived its effect")
}

func txLeftOpen(r *rig) {
	l, c := newLedger(r), r.consume()
	ds := l.claims(c, "unit", 4)
	us := make([]driver.Unit, len(ds))
	var stmt *sql.Stmt
	for i, d := range ds {
		us[i] = l.unit(d, func(ctx context.Context, tx driver.Tx) (err error) {
			if stmt, err = tx.PrepareContext(ctx, l.insert); err != nil { // never closed
				return err
			}
			if i%2 == 0 { // the last thing, since not every database reads while rows are open
				_ = tx.QueryRowContext(ctx, `select id from effect`) // never scanned
				return nil
			}
			rows, err := tx.QueryContext(ctx, `select id from effect`)
			if err == nil && !rows.Next() { // and never closed
				return errors.Join(errEffect, rows.Err())
			}
			return err
		})
	}
	for i, err := range l.transact(us...) {
		l.committed(c, err, ds[i])
	}
	if _, err := stmt.ExecContext(r.soon(), "ghost"); err == nil {
		l.Error("a statement outlived its effect")
	}
	l.transactsOn(c)
}

// transactsOn makes sure that the next unit finds a clean transaction.
func (l *ledger) transactsOn(c driver.Consumer) {
	l.Helper()
	d := l.claims(c, "next", 1)[0]
	l.committed(c, l.transact(l.unit(d, nil))[0], d)
}

// endings are statements that a transaction must refuse.
func endings() []string {
	return []string{
		"commit", "COMMIT", " commit ;", "rollback", "Rollback;", "begin", "/* so */ commit", "-- so\nrollback",
	}
}

func txRefuses(r *rig) {
	l, c := newLedger(r), r.consume()
	for i, text := range endings() {
		ds := l.claims(c, fmt.Sprint("ending-", i), 3)
		us := l.units(ds)
		us[1] = l.unit(ds[1], func(ctx context.Context, tx driver.Tx) error {
			_, err := tx.ExecContext(ctx, text)
			return err
		})
		errs := l.transact(us...)
		if !errors.Is(errs[1], driver.ErrTxRefused) {
			l.Errorf("%q returned %v, want %v", text, errs[1], driver.ErrTxRefused)
		}
		l.undone(c, ds[1])
		l.committed(c, errs[0], ds[0])
		l.committed(c, errs[2], ds[2])
	}
	l.transactsOn(c)
}

func txSwallowsRefusal(r *rig) {
	l, c := newLedger(r), r.consume()
	for i, text := range endings() {
		ds := l.claims(c, fmt.Sprint("ending-", i), 3)
		us := l.units(ds)
		us[1] = l.unit(ds[1], func(ctx context.Context, tx driver.Tx) error {
			_, _ = tx.ExecContext(ctx, text)
			return nil
		})
		errs := l.transact(us...)
		l.whole(c, errs[1], ds[1])
		l.committed(c, errs[0], ds[0])
		l.committed(c, errs[2], ds[2])
	}
}

func txSwallowsError(r *rig) {
	l, c := newLedger(r), r.consume()
	for i, text := range []string{
		`insert into effect (id) values (null)`, `select nothing from nowhere`, `this is no statement`,
	} {
		ds := l.claims(c, fmt.Sprint("wrong-", i), 3)
		us := l.units(ds)
		us[1] = l.unit(ds[1], func(ctx context.Context, tx driver.Tx) error {
			if _, err := tx.ExecContext(ctx, text); err == nil {
				return errEffect
			}
			return nil
		})
		errs := l.transact(us...)
		if errors.Is(errs[1], errEffect) {
			l.Errorf("%q returned no error", text)
		}
		l.whole(c, errs[1], ds[1])
		l.committed(c, errs[0], ds[0])
		l.committed(c, errs[2], ds[2])
	}
}

func txSendRefused(r *rig) {
	l, c := newLedger(r), r.consume()
	bad := env("bad")
	bad.Kind = ""
	d := l.claims(c, "unit", 1)[0]
	err := l.transact(l.unit(d, func(ctx context.Context, tx driver.Tx) error {
		return tx.Send(ctx, env("good"), bad)
	}))[0]
	if !errors.Is(err, driver.ErrInvalid) {
		l.Errorf("unit returned %v, want %v", err, driver.ErrInvalid)
	}
	l.undone(c, d)
	l.nothing(c)
}
