package faulttest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/store"
)

// consumer receives from the store, with a lease that no test outlives.
func (r *rig) consumer(s *store.Store) driver.Consumer {
	r.t.Helper()
	c, err := s.Consume(r.t.Context(), driver.Subscription{
		Queues: []string{posthorn.DefaultQueue}, Lease: time.Hour, Worker: "w",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// receive asks until it gets something: a call may fail by a fault.
func (r *rig) receive(c driver.Consumer) []driver.Delivery {
	r.t.Helper()
	for range 10 {
		ds, err := c.Receive(r.t.Context(), 10)
		if err == nil {
			return ds
		}
		if !errors.Is(err, driver.ErrUnavailable) {
			r.t.Fatalf("receive: %v", err)
		}
	}
	r.t.Fatal("received nothing in ten calls")
	return nil
}

// N-1. What was claimed by a commit whose reply was lost is not left to its
// lease, which would count as a crash.
func TestAClaimThatIsCutOffIsRecalled(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		p := proxy.New(t, k.protocol, r.server.Addr())
		s := r.open(p.Addr())
		defer r.close(s)
		c := r.consumer(s)
		for _, side := range []proxy.Side{proxy.Before, proxy.After} {
			r.sendAll(done)
			p.CutCommits(proxy.CommitCut{Side: side, Nth: 1})
			ds := r.receive(c)
			if len(ds) != 1 || ds[0].Crashes != 0 || ds[0].Deliveries != 1 {
				t.Errorf("side %d: received %+v, want the first delivery of one message", side, ds)
			}
			if err := c.Settle(t.Context(), driver.Settlement{Delivery: ds[0]}); err != nil {
				t.Errorf("side %d: settle what was recalled: %v", side, err)
			}
		}
		if n := p.Counts(); n.CutBefore != 1 || n.CutAfter != 1 {
			t.Errorf("counts %+v, want one cut on each side: the test shows nothing", n)
		}
	})
}

// D-9. A renewal of leases meets effects that have just acknowledged the same
// messages. If it waited for them, the two would often end as a deadlock.
func TestARenewalWaitsForNoSettlement(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		s := r.open(r.server.Addr())
		defer r.close(s)
		r.sendAll(done, done)
		c := r.consumer(s)
		ds := r.receive(c)
		if len(ds) == 1 {
			ds = append(ds, r.receive(c)...)
		}
		unit := driver.Unit{Delivery: ds[0], Context: t.Context(), Effect: func(ctx context.Context, _ driver.Tx) error {
			return c.Extend(ctx, ds...) // in this transaction the first one is acknowledged
		}}
		if err := s.Transact(t.Context(), []driver.Unit{unit})[0]; err != nil {
			t.Fatalf("extend while a settlement is under way: %v", err)
		}
		var lost *driver.LeaseLostError
		if err := c.Extend(t.Context(), ds...); !errors.As(err, &lost) || len(lost.Lost) != 1 || lost.Lost[0].ID != ds[0].ID {
			t.Errorf("extend afterwards: %v, want the first message lost", err)
		}
	})
}
