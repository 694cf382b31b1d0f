package nastytest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// A handler goes back to a savepoint that it has not set. One before it, in the same
// transaction, has left one of that name.
func TestNobodyGoesBackToTheSavepointOfAnother(t *testing.T) {
	onEachServer(t, func(t *testing.T, k kind) {
		r := newRig(t, k, 1)
		r.consume()
		ds := r.claims("good", "saves", "goes_back", "good")
		var conns [2]string
		run := func(stmt string) func(context.Context, *posthorn.Tx) error {
			return func(ctx context.Context, tx *posthorn.Tx) error {
				_, _ = tx.ExecContext(ctx, stmt)
				d, _ := posthorn.DeliveryFrom(ctx)
				_, err := tx.ExecContext(ctx, k.insert, d.ID)
				return err
			}
		}
		errs := r.store.Transact(t.Context(), []driver.Unit{
			r.innocent(ds[0], &conns[0]), r.unit(ds[1], run("savepoint mine")), r.unit(ds[2], run("rollback to mine")),
			r.innocent(ds[3], &conns[1]),
		})
		for _, i := range []int{0, 1, 3} {
			r.done(ds[i].ID, errs[i])
		}
	})
}

// A constraint that is checked at the end is broken: the message that breaks it is told so
// by the server's own error, and no other one is.
func TestABrokenDeferredConstraintIsNamed(t *testing.T) {
	t.Parallel()
	k := postgreSQL()
	r := newRig(t, k, 1)
	r.consume()
	ds := r.claims("good", "breaks", "good")
	var conns [2]string
	errs := r.store.Transact(t.Context(), []driver.Unit{
		r.innocent(ds[0], &conns[0]),
		r.unit(ds[1], func(ctx context.Context, tx *posthorn.Tx) error {
			_, err := tx.ExecContext(ctx, `insert into child values (99)`)
			return err
		}),
		r.innocent(ds[2], &conns[1]),
	})
	for _, i := range []int{0, 2} {
		r.done(ds[i].ID, errs[i])
	}
	if err := errs[1]; err == nil || !strings.Contains(err.Error(), "23503") {
		t.Errorf("the one that breaks it got %v, want the server's error 23503", err)
	}
}

// A handler leaves a time limit that ends both what its neighbour does and the look for
// what it has left. It is the neighbour's loss for that transaction only.
func TestATimeLimitThatEndsTheInspectionHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, postgreSQL(), 1)
	for _, stmt := range []string{
		`create table dawdle (id int)`,
		`create function dawdles() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$`,
		`create constraint trigger dawdle after insert on dawdle deferrable initially deferred
			for each row execute function dawdles()`,
	} {
		if _, err := r.store.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	r.consume()
	run := func(stmts ...string) posthorn.Effect {
		return func(ctx context.Context, tx *posthorn.Tx) error {
			d, _ := posthorn.DeliveryFrom(ctx)
			_, err := tx.ExecContext(ctx, r.kind.insert, d.ID)
			for _, stmt := range stmts {
				_, more := tx.ExecContext(ctx, stmt)
				err = errors.Join(err, more)
			}
			return err
		}
	}
	ds := r.claims("limits", "sleeps")
	errs := r.store.Transact(t.Context(), []driver.Unit{
		r.unit(ds[0], run(`insert into dawdle values (1)`, `set statement_timeout = '100ms'`)),
		r.unit(ds[1], run(`select pg_sleep(0.2)`)),
	})
	r.done(ds[1].ID, errs[1])
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "57014") {
		t.Errorf("who set the limit got %v, want the server's error 57014", errs[0])
	}
}
