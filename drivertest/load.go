package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/driver"
)

// The size of the load: enough consumers to be in each other's way.
const (
	loadConsumers = 50
	loadMessages  = 10_000
	loadBatch     = 500
	loadClaim     = 100
)

// A tally counts acknowledgements by message.
type tally struct {
	mu   sync.Mutex
	acks map[string]int
	done context.CancelFunc // called when every message has been counted
}

func (t *tally) count(ds []driver.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range ds {
		t.acks[d.ID]++
	}
	if len(t.acks) >= loadMessages {
		t.done()
	}
}

// runLoad has many consumers share many messages, while these are being sent.
func runLoad(t *testing.T, open func(t *testing.T) Opened) {
	r := newRig(t, open)
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	counted := &tally{acks: map[string]int{}, done: cancel}
	var working sync.WaitGroup
	for range loadConsumers {
		c := r.consume()
		working.Go(func() { r.work(ctx, c, counted) })
	}
	for i := range loadMessages / loadBatch {
		r.send(envs(fmt.Sprint("load-", i), loadBatch)...)
	}
	working.Wait()
	if len(counted.acks) != loadMessages {
		r.Errorf("%d messages were acknowledged, want %d", len(counted.acks), loadMessages)
	}
	for id, n := range maps.All(counted.acks) {
		if n != 1 {
			r.Errorf("%s was acknowledged %d times", id, n)
		}
	}
	r.nothing(r.consume())
}

// work receives and acknowledges until the context ends.
func (r *rig) work(ctx context.Context, c driver.Consumer, counted *tally) {
	for {
		ds, err := c.Receive(ctx, loadClaim)
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			r.Errorf("receive: %v", err)
			return
		}
		given := verdicts(driver.Ack, ds...)
		err = c.Settle(context.WithoutCancel(ctx), given...)
		clear(given) // it is the caller's again
		if err != nil {
			r.Errorf("settle: %v", err)
			return
		}
		counted.count(ds)
	}
}
