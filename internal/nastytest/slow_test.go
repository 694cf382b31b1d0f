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
		var runs atomic.Int32
		slow := r.unit(ds[1], func(ctx context.Context, tx *posthorn.Tx) error {
			if runs.Add(1) == 2 {
				for _, i := range []int{0, 2, 3} {
					r.done(ds[i].ID, nil)
				}
			}
			if _, err := tx.ExecContext(ctx, k.insert, ds[1].ID); err != nil {
				return err
			}
			for range 3 { // longer than the default of store.Options.SlowEffect
				_, _ = tx.ExecContext(ctx, k.nap)
			}
			return nil
		})
		var conns [3]string
		errs := r.store.Transact(t.Context(), []driver.Unit{
			r.innocent(ds[0], &conns[0]), slow, r.innocent(ds[2], &conns[1]), r.innocent(ds[3], &conns[2]),
		})
		for i, d := range ds {
			r.done(d.ID, errs[i])
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("the slow effect ran %d times, want 2", n)
		}
	})
}
