package nastytest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// Each nasty handler runs in one group between two innocent neighbours, and one
// more innocent follows, all on one connection as long as it is clean. It does
// so three times: when nothing is known of its kind, again when its traces are
// known, and with a transaction of its own.
func TestANastyHandlerHarmsNeitherItsNeighboursNorTheNextMessage(t *testing.T) {
	onEachServer(t, func(t *testing.T, k kind) {
		r := newRig(t, k, 1)
		r.consume()
		for i, c := range k.corpus {
			t.Run(c.name, func(t *testing.T) {
				r.T = t
				r.thrice(c, fmt.Sprint("nasty-", i))
			})
		}
		r.T = t
		if p := r.place("never"); p != "" {
			t.Errorf("a message of a handler that failed is %s", p)
		}
	})
}

// thrice runs a nasty handler each way.
func (r *rig) thrice(c nasty, kind string) {
	r.Helper()
	if !c.rawOnly {
		r.among(c, kind, false)
		r.among(c, kind, false)
	}
	r.among(c, kind, true)
}

// among runs a nasty handler among innocent ones.
func (r *rig) among(c nasty, kind string, alone bool) {
	r.Helper()
	ds := r.claims("good", kind, "good", "good")
	s := &scene{t: r.T, kind: r.kind, id: ds[1].ID, alone: alone}
	defer s.strays.Wait()
	culprit := r.unit(ds[1], func(ctx context.Context, tx *posthorn.Tx) error { return s.run(ctx, tx, c) })
	if culprit.Alone = alone; c.slow {
		culprit.Timeout = 50 * time.Millisecond
	}
	r.log.took("")
	var before, behind, next string
	errs := r.store.Transact(r.Context(), []driver.Unit{
		r.innocent(ds[0], &before), culprit, r.innocent(ds[2], &behind),
	})
	errs = append(errs, r.store.Transact(r.Context(), []driver.Unit{r.innocent(ds[3], &next)})...)
	for _, i := range []int{0, 2, 3} {
		r.done(ds[i].ID, errs[i])
	}
	r.fate(c, ds[1].ID, errs[1])
	r.session(c, kind, s.conn, next)
	if n := r.effects("ghost"); n != 0 {
		r.Fatalf("%d effects were committed without a settlement", n)
	}
	if errs[1] != nil { // out of the way
		err := r.consumer.Settle(r.Context(), driver.Settlement{Delivery: ds[1]})
		if err != nil && !errors.Is(err, driver.ErrLeaseLost) {
			r.Errorf("the culprit cannot be settled: %v", err)
		}
	}
}

// session checks that a dirty connection is gone and its handler is named, and
// that a clean one is kept.
func (r *rig) session(c nasty, kind, conn, next string) {
	r.Helper()
	named := r.log.took(kind)
	switch {
	case c.after == dirty && (!named || conn == next):
		r.Errorf("named %v, connection %s, then %s: want it destroyed and the handler named", named, conn, next)
	case c.after == clean && (named || conn != next):
		r.Errorf("named %v, connection %s, then %s: want it kept", named, conn, next)
	}
}

// done checks that a good message is done, with one effect.
func (r *rig) done(id string, err error) {
	r.Helper()
	// A neighbour that was committed by somebody else's commit has lost its claim.
	if err != nil && !errors.Is(err, driver.ErrLeaseLost) {
		r.Errorf("innocent %s: %v", id, err)
	}
	if n, p := r.effects(id), r.place(id); n != 1 || p != "" {
		r.Errorf("innocent %s: %d effects, place %q, want it done", id, n, p)
	}
}

// fate checks how a case ended: its effect and its settlement share one fate.
func (r *rig) fate(c nasty, id string, err error) {
	r.Helper()
	n, p := r.effects(id), r.place(id)
	done, undone := n == 1 && p == "", n == 0 && p == store.PlaceLeased
	if !done && !undone {
		r.Errorf("%d effects, place %q: the effect and the settlement are apart", n, p)
	}
	switch {
	case c.chance:
	case c.want == nil && (err != nil || !done):
		r.Errorf("error %v, done %v, want it done", err, done)
	case c.want != nil && (!c.matches(err) || done != c.early):
		r.Errorf("error %v, done %v, want %v, %v", err, done, c.want, c.early)
	}
}

// matches reports whether err is what the case must end with.
func (c nasty) matches(err error) bool {
	return err != nil && (errors.Is(c.want, errSome) || errors.Is(err, c.want) ||
		posthorn.ClassOf(err) == driver.ClassTimeout && errors.Is(c.want, driver.ErrTimeout))
}
