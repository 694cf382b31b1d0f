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

// D-3. While the store is away for longer than a lease, nobody can renew. Whoever is
// first to reach it again must not take the others for dead, even when it has asked
// for nothing meanwhile but to renew its own.
func TestAnOutageThatOutlastsALeaseIsNoCrash(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		const lease = 2 * time.Second
		r := newRig(t, k, k.with(nil))
		p := proxy.New(t, k.protocol, r.server.Addr())
		subscribe := func(s *store.Store, worker string) driver.Consumer {
			c, err := s.Consume(t.Context(), driver.Subscription{
				Queues: []string{posthorn.DefaultQueue}, Lease: lease, Worker: worker,
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		holding, other := r.open(p.Addr()), r.open(p.Addr())
		defer r.close(holding)
		defer r.close(other)
		holder, rival := subscribe(holding, "holder"), subscribe(other, "rival")
		r.sendAll(done, done)
		held, busy := r.receiveOne(holder), r.receiveOne(rival)
		p.Refuse(true)
		p.Cut()
		time.Sleep(lease + lease/4)
		if err := rival.Extend(t.Context(), busy); !errors.Is(err, driver.ErrUnavailable) {
			t.Fatalf("extend while the store is away: %v, want %v", err, driver.ErrUnavailable)
		}
		p.Refuse(false)
		soon, cancel := context.WithTimeout(t.Context(), lease/8)
		defer cancel()
		if ds, err := rival.Receive(soon, 10); err == nil {
			t.Errorf("received %+v, which another worker holds", ds)
		}
		if err := holder.Extend(t.Context(), held); err != nil {
			t.Errorf("renew after the outage: %v", err)
		}
	})
}

// receiveOne receives one message.
func (r *rig) receiveOne(c driver.Consumer) driver.Delivery {
	r.t.Helper()
	ds, err := c.Receive(r.t.Context(), 1)
	if err != nil {
		r.t.Fatal(err)
	}
	return ds[0]
}
