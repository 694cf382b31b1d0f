package nastytest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// A slow effect is cut off in a statement, which may cost the connection; its
// neighbours are committed all the same, and then it has the time that it needs.
func TestASlowEffectIsCutOffAndRunsAgainAlone(t *testing.T) {
	onEachServer(t, func(t *testing.T, k kind) {
		r := newRig(t, k, 1)
		r.consume()
		ds := r.claims("good", "slow", "good", "good")
		var conns [3]string
		var runs atomic.Int32
		units := []driver.Unit{r.innocent(ds[0], &conns[0]), {}, r.innocent(ds[2], &conns[1]), r.innocent(ds[3], &conns[2])}
		units[1] = r.unit(ds[1], func(ctx context.Context, tx *posthorn.Tx) error {
			if runs.Add(1) == 2 {
				r.allDone(ds[0], ds[2], ds[3])
			}
			return r.dawdle(ctx, tx, ds[1].ID)
		})
		errs := r.store.Transact(t.Context(), units)
		for i, d := range ds {
			r.done(d.ID, errs[i])
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("the slow effect ran %d times, want 2", n)
		}
	})
}

// allDone checks that good messages are done.
func (r *rig) allDone(ds ...driver.Delivery) {
	for _, d := range ds {
		r.done(d.ID, nil)
	}
}

// dawdle inserts an effect and takes longer than the default of
// store.Options.SlowEffect. It swallows that it was cut off.
func (r *rig) dawdle(ctx context.Context, tx *posthorn.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, r.kind.insert, id); err != nil {
		return err
	}
	for range 3 {
		_, _ = tx.ExecContext(ctx, r.kind.nap)
	}
	return nil
}
