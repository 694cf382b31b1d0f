package drivertest

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn/driver"
)

// A ledger is the table in which effects leave their mark. It has no unique
// key, so an effect that is committed twice shows.
type ledger struct {
	*rig
	insert string
	count  string
}

// newLedger makes the table.
func newLedger(r *rig) *ledger {
	r.Helper()
	_, err := r.DB.ExecContext(r.soon(), `create table if not exists effect (id varchar(64) not null)`)
	if err != nil {
		r.Fatalf("create table: %v", err)
	}
	p := "?"
	if r.Placeholder != nil {
		p = r.Placeholder(1)
	}
	return &ledger{
		rig:    r,
		insert: fmt.Sprintf(`insert into effect (id) values (%s)`, p),
		count:  fmt.Sprintf(`select count(*) from effect where id = %s`, p),
	}
}

// unit is one whose effect marks the message, and then does what also says.
func (l *ledger) unit(d driver.Delivery, also func(ctx context.Context, tx driver.Tx) error) driver.Unit {
	return driver.Unit{Delivery: d, Context: l.soon(), Effect: func(ctx context.Context, tx driver.Tx) error {
		if _, err := tx.ExecContext(ctx, l.insert, d.ID); err != nil || also == nil {
			return err
		}
		return also(ctx, tx)
	}}
}

// units are plain units for the deliveries.
func (l *ledger) units(ds []driver.Delivery) []driver.Unit {
	out := make([]driver.Unit, len(ds))
	for i, d := range ds {
		out[i] = l.unit(d, nil)
	}
	return out
}

// transact runs units and returns as many errors.
func (l *ledger) transact(us ...driver.Unit) []error {
	l.Helper()
	errs := l.roles.Transactor.Transact(l.soon(), us)
	if len(errs) != len(us) {
		l.Fatalf("transact of %d units returned %d errors", len(us), len(errs))
	}
	return errs
}

// marks counts the effects of a message that are committed.
func (l *ledger) marks(id string) (n int) {
	l.Helper()
	if err := l.DB.QueryRowContext(l.soon(), l.count, id).Scan(&n); err != nil {
		l.Fatalf("count effects: %v", err)
	}
	return n
}

// committed makes sure that effect and acknowledgement are there.
func (l *ledger) committed(c driver.Consumer, err error, d driver.Delivery) {
	l.Helper()
	if err != nil {
		l.Errorf("unit %s: %v", d.ID, err)
	}
	if n := l.marks(d.ID); n != 1 {
		l.Errorf("%s has %d effects, want 1", d.ID, n)
	}
	l.lost(c.Extend(l.soon(), d), d)
}

// undone makes sure that neither effect nor acknowledgement is there, and that
// the claim stands.
func (l *ledger) undone(c driver.Consumer, d driver.Delivery) {
	l.Helper()
	if n := l.marks(d.ID); n != 0 {
		l.Errorf("%s has %d effects, want 0", d.ID, n)
	}
	if err := c.Extend(l.soon(), d); err != nil {
		l.Errorf("the claim of %s is gone: %v", d.ID, err)
	}
}

// whole makes sure that a unit is committed or undone, as its error says.
func (l *ledger) whole(c driver.Consumer, err error, d driver.Delivery) {
	l.Helper()
	if err == nil {
		l.committed(c, nil, d)
		return
	}
	l.undone(c, d)
}

// claims sends n messages and receives them.
func (l *ledger) claims(c driver.Consumer, prefix string, n int) []driver.Delivery {
	l.Helper()
	l.send(envs(prefix, n)...)
	return l.receive(c, n)
}
