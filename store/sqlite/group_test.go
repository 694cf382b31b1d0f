package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// group opens a store with n claimed messages and the tables of the effects.
func group(t *testing.T, n int) (*store.Store, driver.Consumer, []driver.Delivery) {
	t.Helper()
	s := open(t, newPath(t))
	exec(t, s, `create table effect (id text); create table parent (id integer primary key);
		create table child (id integer references parent deferrable initially deferred)`)
	send(t, s, n)
	c := consume(t, s)
	ds := receive(t, c, n)
	if len(ds) != n {
		t.Fatalf("received %d of %d", len(ds), n)
	}
	return s, c, ds
}

// settled checks which messages have an effect, and that just those are done.
func settled(t *testing.T, s *store.Store, want map[string]bool) {
	t.Helper()
	for id, done := range want {
		effects := count(t, s, "select count(*) from effect where id = ?", id)
		live := count(t, s, "select count(*) from posthorn_message where id = ?", id)
		if done && (effects != 1 || live != 0) || !done && (effects != 0 || live != 1) {
			t.Errorf("message %s: %d effects, %d live, want it done: %v", id, effects, live, done)
		}
	}
}

func TestDeferredViolationAtCommitIsItsOwnersAndTheSessionGoesOn(t *testing.T) {
	s, _, ds := group(t, 5)
	violate := func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into child values (7)")
		return err
	}
	errs := s.Transact(t.Context(), []driver.Unit{
		unit(t, ds[0], nil), unit(t, ds[1], violate), unit(t, ds[2], nil),
	})
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("errors: %v", errs)
	}
	if errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[3], violate)}); errs[0] == nil {
		t.Error("alone, the violation was committed")
	}
	if errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[4], nil)}); errs[0] != nil {
		t.Errorf("the next one: %v", errs[0])
	}
	settled(t, s, map[string]bool{"m0": true, "m1": false, "m2": true, "m3": false, "m4": true})
}

// A handler goes back to a savepoint that another one of its transaction has left. The
// second kind runs the same statements beside others, which were compiled alone.
func TestNobodyGoesBackToTheSavepointOfAnother(t *testing.T) {
	s, _, ds := group(t, 8)
	for _, kind := range []string{"one", "two"} {
		run := func(d driver.Delivery, stmt string) driver.Unit {
			u := unit(t, d, func(ctx context.Context, tx driver.Tx) error {
				_, _ = tx.ExecContext(ctx, stmt) // there may be no such savepoint
				return nil
			})
			u.Delivery.Kind = kind
			return u
		}
		errs := s.Transact(t.Context(), []driver.Unit{
			unit(t, ds[0], nil), run(ds[1], "savepoint mine"), run(ds[2], "rollback to mine"), unit(t, ds[3], nil),
		})
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		settled(t, s, map[string]bool{ds[0].ID: true, ds[1].ID: true, ds[2].ID: true, ds[3].ID: true})
		ds = ds[4:]
	}
}

func TestEffectOfALostClaimIsNotRun(t *testing.T) {
	s, c, ds := group(t, 3)
	given := driver.Settlement{Delivery: ds[1], Verdict: driver.Release, Delay: time.Hour}
	if err := c.Settle(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	lost := unit(t, ds[1], func(context.Context, driver.Tx) error { t.Error("it ran"); return nil })
	errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], nil), lost, unit(t, ds[2], nil)})
	if errs[0] != nil || !errors.Is(errs[1], driver.ErrLeaseLost) || errs[2] != nil {
		t.Errorf("errors: %v", errs)
	}
	settled(t, s, map[string]bool{"m0": true, "m1": false, "m2": true})
}

// Many acknowledgements of one claim are one statement, which tells only how many stood.
func TestOneLostClaimAmongManyIsFound(t *testing.T) {
	s, c, ds := group(t, 40)
	given := driver.Settlement{Delivery: ds[17], Verdict: driver.Release, Delay: time.Hour}
	if err := c.Settle(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	var acks []driver.Settlement
	for _, d := range ds {
		acks = append(acks, driver.Settlement{Delivery: d, Verdict: driver.Ack})
	}
	acks = append(acks, acks[3]) // a second time
	var lost *driver.LeaseLostError
	if err := c.Settle(t.Context(), acks...); !errors.As(err, &lost) || len(lost.Lost) != 2 {
		t.Fatalf("settled with %v, want two that are lost", err)
	}
	for _, d := range lost.Lost {
		if d.ID != ds[17].ID && d.ID != ds[3].ID {
			t.Errorf("%s is lost", d.ID)
		}
	}
	if n := count(t, s, "select count(*) from posthorn_message"); n != 1 {
		t.Errorf("%d messages are left, want the one that was given back", n)
	}
}

// Whoever leaves something in the session runs apart from then on: others run once.
func TestWhoSoilsTheSessionCostsOthersOneRunOnly(t *testing.T) {
	s, _, ds := group(t, 8)
	for round := range 2 {
		runs := 0
		plain := func(context.Context, driver.Tx) error { runs++; return nil }
		soils := unit(t, ds[1], func(ctx context.Context, tx driver.Tx) error {
			_, err := tx.ExecContext(ctx, "pragma defer_foreign_keys = on")
			return err
		})
		soils.Delivery.Kind = "soils"
		errs := s.Transact(t.Context(), []driver.Unit{
			unit(t, ds[0], plain), soils, unit(t, ds[2], plain), unit(t, ds[3], plain),
		})
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		if round == 1 && runs != 3 {
			t.Errorf("three effects ran %d times", runs)
		}
		ds = ds[4:]
	}
}

func TestUnitWhoseContextHasEndedIsNotBegun(t *testing.T) {
	s, _, ds := group(t, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(driver.ErrShutdown)
	late := unit(t, ds[0], func(context.Context, driver.Tx) error { t.Error("it ran"); return nil })
	late.Context = ctx
	errs := s.Transact(t.Context(), []driver.Unit{late, unit(t, ds[1], nil)})
	if !errors.Is(errs[0], driver.ErrShutdown) || errs[1] != nil {
		t.Errorf("errors: %v", errs)
	}
	settled(t, s, map[string]bool{"m0": false, "m1": true})
}

func TestTxIsDeadOnceItsEffectHasReturned(t *testing.T) {
	s, _, ds := group(t, 1)
	var kept driver.Tx
	var stmt *sql.Stmt
	errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], func(ctx context.Context, tx driver.Tx) (err error) {
		kept = tx
		stmt, err = tx.PrepareContext(ctx, "insert into effect values ('late')")
		return err
	})})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	ctx := t.Context()
	_, execErr := kept.ExecContext(ctx, "insert into effect values ('late')")
	_, queryErr := kept.QueryContext(ctx, "select 1")
	_, prepareErr := kept.PrepareContext(ctx, "select 1")
	for name, err := range map[string]error{
		"exec": execErr, "query": queryErr, "prepare": prepareErr,
		"row": kept.QueryRowContext(ctx, "select 1").Scan(new(int)), "send": kept.Send(ctx, envelope("late")),
	} {
		if !errors.Is(err, driver.ErrTxDone) {
			t.Errorf("%s: %v, want ErrTxDone", name, err)
		}
	}
	if _, err := stmt.ExecContext(ctx); err == nil {
		t.Error("a prepared statement outlived its transaction")
	}
	if n := count(t, s, "select count(*) from effect where id = 'late'"); n != 0 {
		t.Errorf("%d late effects", n)
	}
}

// An ending is a context that those which are made of it hear of late, since it is none of
// package context's own.
type ending struct {
	context.Context //nolint:containedctx // it is one
	end             chan struct{}
	ended           atomic.Bool
}

func (e *ending) Done() <-chan struct{} { return e.end }

func (e *ending) Err() error {
	if e.ended.Load() {
		return context.Canceled
	}
	return nil
}

// A handler learns of its end before what is made of its context does. It must not write in
// between.
func TestNoStatementRunsOnceAHandlerKnowsOfItsEnd(t *testing.T) {
	t.Parallel()
	const times = 100
	s, _, ds := group(t, times)
	for _, d := range ds {
		ctx := &ending{Context: context.Background(), end: make(chan struct{})}
		errs := s.Transact(t.Context(), []driver.Unit{{
			Delivery: d, Context: ctx, Effect: func(_ context.Context, tx driver.Tx) error {
				ctx.ended.Store(true)
				close(ctx.end)
				_, err := tx.ExecContext(context.Background(), "insert into effect values (?)", d.ID)
				return err
			},
		}})
		if !errors.Is(errs[0], context.Canceled) {
			t.Fatalf("it wrote after its end: %v", errs[0])
		}
	}
	if n := count(t, s, "select count(*) from effect"); n != 0 {
		t.Errorf("%d effects", n)
	}
}

func TestSendInAnEffectSharesItsFate(t *testing.T) {
	s, c, ds := group(t, 2)
	sends := func(id string, then error) func(context.Context, driver.Tx) error {
		return func(ctx context.Context, tx driver.Tx) error { return errors.Join(tx.Send(ctx, envelope(id)), then) }
	}
	boo := errors.New("boo")
	errs := s.Transact(t.Context(), []driver.Unit{
		unit(t, ds[0], sends("kept", nil)), unit(t, ds[1], sends("undone", boo)),
	})
	if errs[0] != nil || !errors.Is(errs[1], boo) {
		t.Errorf("errors: %v", errs)
	}
	if got := receive(t, c, 10); len(got) != 1 || got[0].ID != "kept" || string(got[0].Body) != "body of kept" {
		t.Errorf("received %+v", got)
	}
}

func TestOnlyAUnitThatIsAloneHasTheRawTransaction(t *testing.T) {
	s, _, ds := group(t, 3)
	is := func(want bool) func(context.Context, driver.Tx) error {
		return func(_ context.Context, tx driver.Tx) error {
			if raw := tx.SQL() != nil; raw != want {
				return fmt.Errorf("raw transaction: %v", raw)
			}
			return nil
		}
	}
	alone := unit(t, ds[1], is(true))
	alone.Alone = true
	units := []driver.Unit{unit(t, ds[0], is(false)), alone, unit(t, ds[2], is(false))}
	for i, err := range s.Transact(t.Context(), units) {
		if err != nil {
			t.Errorf("unit %d: %v", i, err)
		}
	}
	settled(t, s, map[string]bool{"m0": true, "m1": true, "m2": true})
}

func TestStuckEffectIsLeftBehindAndToldWhenItReturns(t *testing.T) {
	s, _, ds := group(t, 2)
	release := make(chan struct{})
	u := unit(t, ds[0], func(context.Context, driver.Tx) error { <-release; return nil })
	u.Timeout = 10 * time.Millisecond
	errs := s.Transact(t.Context(), []driver.Unit{u, unit(t, ds[1], nil)})
	var stuck *driver.StuckError
	if !errors.As(errs[0], &stuck) || errs[1] != nil {
		t.Fatalf("errors: %v", errs)
	}
	select {
	case <-stuck.Done:
		t.Error("told before it returned")
	default:
	}
	close(release)
	select {
	case <-stuck.Done:
	case <-time.After(patience):
		t.Error("never told that it returned")
	}
	settled(t, s, map[string]bool{"m0": false, "m1": true})
}

func TestGroupIsOneCommitAndABadUnitUndoesOnlyItself(t *testing.T) {
	s, _, ds := group(t, 100)
	units := make([]driver.Unit, len(ds))
	want := map[string]bool{}
	for i, d := range ds {
		good := i%10 != 3
		want[d.ID] = good
		units[i] = unit(t, d, func(context.Context, driver.Tx) error {
			if !good {
				return errors.New("boo")
			}
			return nil
		})
	}
	before := count(t, s, "pragma data_version")
	errs := s.Transact(t.Context(), units)
	for i, err := range errs {
		if (err == nil) != want[ds[i].ID] {
			t.Errorf("unit %d: %v", i, err)
		}
	}
	settled(t, s, want)
	if after := count(t, s, "pragma data_version"); after == before {
		t.Error("another connection saw no commit")
	}
}
