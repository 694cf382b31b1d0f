package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func receiveTests() []subtest {
	return []subtest{
		{"returns at most as many as asked for", receiveBounded},
		{"gives a claimed message to nobody else", receiveOnce},
		{"gives a consumer only what is in its queues", receiveOwnQueues},
		{"returns the context's error when it ends while waiting", receiveCancelled},
		{"returns the context's error when it has ended before", receiveEnded},
		{"claims nothing when its context ends", receiveCancelClaimsNothing},
		{"loses nothing to a cancel that races with a send", receiveCancelRace},
		{"gives each claim a token of its own", receiveTokens},
		{"refuses a subscription that makes no sense", receiveRefused},
	}
}

func receiveBounded(r *rig) {
	r.send(envs("many", 20)...)
	c := r.consume()
	for _, limit := range []int{1, 3, 16} {
		ds, err := c.Receive(r.soon(), limit)
		if err != nil || len(ds) == 0 || len(ds) > limit {
			r.Errorf("receive of at most %d returned %d, %v", limit, len(ds), err)
		}
	}
}

func receiveOnce(r *rig) {
	r.claim(r.consume(), env("held"))
	r.nothing(r.consume())
}

func receiveOwnQueues(r *rig) {
	a, b := env("in-a"), env("in-b")
	a.Queue, b.Queue = "a", "b"
	r.send(a, b)
	onlyB := r.consume("b")
	r.wants(onlyB, "in-b")
	r.nothing(onlyB)
	r.nothing(r.consume("c"))
	r.wants(r.consume("c", "a"), "in-a")
}

func receiveCancelled(r *rig) {
	c := r.consume()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := time.AfterFunc(glance, cancel)
	defer stop.Stop()
	if ds, err := c.Receive(ctx, 1); !errors.Is(err, context.Canceled) || len(ds) > 0 {
		r.Errorf("receive returned %q, %v; want the context's error", ids(ds), err)
	}
	r.claim(c, env("after"))
}

func receiveEnded(r *rig) {
	c := r.consume()
	r.send(env("waiting"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if ds, err := c.Receive(ctx, 1); !errors.Is(err, context.Canceled) || len(ds) > 0 {
		r.Errorf("receive returned %q, %v; want the context's error", ids(ds), err)
	}
	if d := r.wants(c, "waiting"); d.Deliveries != 1 {
		r.Errorf("deliveries is %d, want 1: the ended call has claimed it", d.Deliveries)
	}
}

func receiveCancelClaimsNothing(r *rig) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quitter, done := r.consume(), make(chan error, 1)
	wait := start(func() {
		_, err := quitter.Receive(ctx, 1)
		done <- err
	})
	defer wait()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		r.Errorf("receive returned %v, want the context's error", err)
	}
	if d := r.claim(r.consume(), env("later")); d.Deliveries != 1 || d.Crashes != 0 {
		r.Errorf("deliveries %d, crashes %d, want 1 and 0", d.Deliveries, d.Crashes)
	}
}

func receiveCancelRace(r *rig) {
	quitter, heir := r.consume(), r.consume()
	for i := range 30 {
		id := fmt.Sprint("race-", i)
		ds, err := r.cancelWhileSending(quitter, id)
		if len(ds) == 1 && err == nil {
			r.ack(quitter, ds[0])
			continue
		}
		if len(ds) > 0 || !errors.Is(err, context.Canceled) {
			r.Fatalf("receive returned %q, %v", ids(ds), err)
		}
		r.ack(heir, r.wants(heir, id))
	}
}

// cancelWhileSending ends a Receive at the moment of a Send.
func (r *rig) cancelWhileSending(c driver.Consumer, id string) (ds []driver.Delivery, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wait := start(func() { ds, err = c.Receive(ctx, 1) })
	also := start(cancel)
	r.send(env(id))
	also()
	wait()
	return ds, err
}

func receiveTokens(r *rig) {
	c, seen := r.consume(), map[driver.Token]bool{}
	r.send(envs("token", 5)...)
	for range 4 {
		ds := r.receive(c, 5)
		for _, d := range ds {
			if d.Token == "" || seen[d.Token] {
				r.Errorf("token %q is empty or not new", d.Token)
			}
			seen[d.Token] = true
		}
		r.settle(c, verdicts(driver.Release, ds...)...)
	}
}

func receiveRefused(r *rig) {
	for name, s := range map[string]driver.Subscription{
		"no queue":         {Lease: lasting},
		"no lease":         {Queues: []string{queue}},
		"a missing weight": {Queues: []string{queue, "other"}, Weights: []int{1}, Lease: lasting},
		"a weight of none": {Queues: []string{queue, "other"}, Weights: []int{1, 0}, Lease: lasting},
		"a negative lease": {Queues: []string{queue}, Lease: -time.Second},
	} {
		c, err := r.Transport.Consume(r.soon(), s)
		if !errors.Is(err, driver.ErrInvalid) {
			r.Errorf("consume with %s returned %v, want %v", name, err, driver.ErrInvalid)
		}
		if err == nil {
			r.closeConsumer(c)
		}
	}
}
