package drivertest

import (
	"context"
	"database/sql"
	"errors"

	"github.com/posthorn/posthorn/driver"
)

func sendTxTests() []subtest {
	return []subtest{
		{"commits a send with the application's own work", sendTxCommits},
		{"rolls a send back with the application's own work", sendTxRollsBack},
		{"wakes a Receive when the application commits", sendTxWakes},
		{"refuses what Send refuses", sendTxRefuses},
	}
}

// inTx runs fn in a transaction of the application's own.
func (l *ledger) inTx(end func(*sql.Tx) error, es ...driver.Envelope) {
	l.Helper()
	tx, err := l.DB.BeginTx(context.Background(), nil)
	if err != nil {
		l.Fatalf("begin: %v", err)
	}
	_, err = tx.ExecContext(l.soon(), l.insert, "work")
	if err == nil {
		err = l.roles.Transactor.SendTx(l.soon(), tx, es...)
	}
	if err = errors.Join(err, end(tx)); err != nil {
		l.Fatalf("send in the application's transaction: %v", err)
	}
}

func sendTxCommits(r *rig) {
	l, c := newLedger(r), r.consume()
	l.inTx((*sql.Tx).Commit, envs("sent", 3)...)
	if n := l.marks("work"); n != 1 {
		l.Errorf("the application's work is there %d times, want 1", n)
	}
	l.ordered(c, "sent-0", "sent-1", "sent-2")
}

func sendTxRollsBack(r *rig) {
	l, c := newLedger(r), r.consume()
	l.inTx((*sql.Tx).Rollback, envs("sent", 3)...)
	if n := l.marks("work"); n != 0 {
		l.Errorf("the application's work is there %d times, want 0", n)
	}
	l.nothing(c)
}

func sendTxWakes(r *rig) {
	l, c := newLedger(r), r.consume()
	r.woken(r.whileWaiting(c, func() { l.inTx((*sql.Tx).Commit, env("sent")) }), "sent")
}

func sendTxRefuses(r *rig) {
	l, c := newLedger(r), r.consume()
	bad := env("bad")
	bad.Queue = "not a queue"
	tx, err := l.DB.BeginTx(context.Background(), nil)
	if err != nil {
		l.Fatalf("begin: %v", err)
	}
	if err := l.roles.Transactor.SendTx(l.soon(), tx, bad); !errors.Is(err, driver.ErrInvalid) {
		l.Errorf("send returned %v, want %v", err, driver.ErrInvalid)
	}
	if err := tx.Rollback(); err != nil {
		l.Errorf("roll back: %v", err)
	}
	l.nothing(c)
}
