package sqlite_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// The driver's handle of a connection is where it was: else statements would be ended in its own, slower way,
// and nothing would tell.
func TestStatementsCanBeInterruptedFromOutside(t *testing.T) {
	t.Parallel()
	if ok, err := sqlite.CutsOff(t.Context(), "sqlite:"+newPath(t)); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// A statement that goes on and on ends with its handler, the only one or beside others, and what comes after
// it is not met by its end.
func TestAStatementEndsWithItsHandler(t *testing.T) {
	t.Parallel()
	s, err := sqlite.Open(t.Context(), "sqlite:"+newPath(t), store.Options{StuckGrace: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	exec(t, s, "create table effect (id text)")
	send(t, s, 4)
	ds := receive(t, consume(t, s), 4)
	dawdle := func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into effect with recursive n (i) as (
			select 1 union all select i + 1 from n where i < 40000000) select i from n where i < 0`)
		return err
	}
	late := unit(t, ds[1], dawdle)
	late.Timeout = 50 * time.Millisecond
	errs := s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], nil), late, unit(t, ds[2], nil)})
	if errs[0] != nil || errs[2] != nil || !errors.Is(errs[1], context.DeadlineExceeded) {
		t.Errorf("beside others: %v", errs)
	}
	alone := unit(t, ds[3], dawdle)
	ctx, stop := context.WithCancel(t.Context())
	alone.Context = ctx
	time.AfterFunc(50*time.Millisecond, stop)
	if errs := s.Transact(t.Context(), []driver.Unit{alone}); !errors.Is(errs[0], context.Canceled) {
		t.Errorf("alone: %v", errs)
	}
	settled(t, s, map[string]bool{"m0": true, "m1": false, "m2": true, "m3": false})
}
