package drivertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/tap"
)

// The durations of the suite.
const (
	patience = 30 * time.Second       // for what must come; only a fault waits so long
	glance   = 150 * time.Millisecond // for what must not come
	brief    = 500 * time.Millisecond // a lease that is meant to run out
	lasting  = 10 * time.Minute       // a lease that is not
	grain    = 10 * time.Millisecond  // how coarse a transport's clock may be
)

// queue is the one that subtests use when the name does not matter.
const queue = "suite"

// A rig is an opened transport in the hands of one subtest.
type rig struct {
	*testing.T
	Opened
	caps  driver.Capabilities
	roles driver.Roles
	shut  bool
}

// newRig opens a transport for the subtest, and closes it at its end.
func newRig(t *testing.T, open func(t *testing.T) Opened) *rig {
	t.Helper()
	o := open(t)
	if o.Transport == nil {
		t.Fatal("open returned no transport")
	}
	r := &rig{T: t, Opened: o, caps: o.Transport.Capabilities(), roles: driver.RolesOf(o.Transport)}
	t.Cleanup(r.close)
	return r
}

// close closes the transport, once.
func (r *rig) close() {
	r.Helper()
	if r.shut {
		return
	}
	r.shut = true
	if err := r.Transport.Close(); err != nil {
		r.Errorf("close transport: %v", err)
	}
}

// reopen is the subtest's second handle on the same data.
func (r *rig) reopen() *rig {
	r.Helper()
	other := &rig{T: r.T, Opened: r.Opened}
	other.Transport = r.Reopen(r.T)
	other.caps, other.roles = other.Transport.Capabilities(), driver.RolesOf(other.Transport)
	r.Cleanup(other.close)
	return other
}

// soon is a context for a call that must not take for ever.
func (r *rig) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.Cleanup(cancel)
	return ctx
}

// env is an envelope for the suite's queue.
func env(id string) driver.Envelope {
	return driver.Envelope{ID: id, Kind: "suite.kind", Queue: queue, Body: []byte("body of " + id + ", " + tap.Secret)}
}

// envs are n envelopes whose ids begin so.
func envs(prefix string, n int) []driver.Envelope {
	out := make([]driver.Envelope, n)
	for i := range out {
		out[i] = env(fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

// send sends what must be accepted.
func (r *rig) send(es ...driver.Envelope) {
	r.Helper()
	if err := r.Transport.Send(r.soon(), es...); err != nil {
		r.Fatalf("send %d envelopes: %v", len(es), err)
	}
}

// refuse sends what must be refused for this reason.
func (r *rig) refuse(want error, es ...driver.Envelope) {
	r.Helper()
	if err := r.Transport.Send(r.soon(), es...); !errors.Is(err, want) {
		r.Errorf("send returned %v, want %v", err, want)
	}
}

// consume opens a consumer with a lease that lasts; without names it is one of
// the suite's queue.
func (r *rig) consume(queues ...string) driver.Consumer {
	r.Helper()
	return r.consumeFor(lasting, queues...)
}

// consumeFor is consume with a lease.
func (r *rig) consumeFor(lease time.Duration, queues ...string) driver.Consumer {
	r.Helper()
	c := r.consumer(lease, queues...)
	r.Cleanup(func() { r.closeConsumer(c) })
	return c
}

// consumer opens one that the subtest closes itself, with closeConsumer.
func (r *rig) consumer(lease time.Duration, queues ...string) driver.Consumer {
	r.Helper()
	if len(queues) == 0 {
		queues = []string{queue}
	}
	sub := driver.Subscription{Queues: queues, Lease: lease, Worker: "suite-worker"}
	c, err := r.Transport.Consume(r.soon(), sub)
	if err != nil {
		r.Fatalf("consume %q: %v", queues, err)
	}
	return c
}

// closeConsumer gives a consumer up.
func (r *rig) closeConsumer(c driver.Consumer) {
	r.Helper()
	if err := c.Close(); err != nil {
		r.Errorf("close consumer: %v", err)
	}
}

// receive waits for exactly n deliveries.
func (r *rig) receive(c driver.Consumer, n int) []driver.Delivery {
	r.Helper()
	var out []driver.Delivery
	ctx := r.soon()
	for len(out) < n {
		ds, err := c.Receive(ctx, n-len(out))
		if err != nil {
			r.Fatalf("receive after %d of %d deliveries: %v", len(out), n, err)
		}
		if len(ds) == 0 || len(ds) > n-len(out) {
			r.Fatalf("receive returned %d deliveries, want 1 to %d", len(ds), n-len(out))
		}
		out = append(out, ds...)
	}
	return out
}

// one waits for a delivery.
func (r *rig) one(c driver.Consumer) driver.Delivery {
	r.Helper()
	return r.receive(c, 1)[0]
}

// claim sends an envelope and receives it.
func (r *rig) claim(c driver.Consumer, e driver.Envelope) driver.Delivery {
	r.Helper()
	r.send(e)
	return r.wants(c, e.ID)
}

// wants receives a delivery that must be of this message.
func (r *rig) wants(c driver.Consumer, id string) driver.Delivery {
	r.Helper()
	d := r.one(c)
	if d.ID != id {
		r.Fatalf("received %s, want %s", d.ID, id)
	}
	return d
}

// nothing makes sure that there is nothing to receive.
func (r *rig) nothing(c driver.Consumer) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), glance)
	defer cancel()
	ds, err := c.Receive(ctx, 10)
	if !errors.Is(err, context.DeadlineExceeded) || len(ds) > 0 {
		r.Errorf("received %q, %v; want nothing but the context's error", ids(ds), err)
	}
}

// settle settles what must still be held.
func (r *rig) settle(c driver.Consumer, ss ...driver.Settlement) {
	r.Helper()
	if err := c.Settle(r.soon(), ss...); err != nil {
		r.Fatalf("settle %d claims: %v", len(ss), err)
	}
}

// ack acknowledges what must still be held.
func (r *rig) ack(c driver.Consumer, ds ...driver.Delivery) {
	r.Helper()
	r.settle(c, verdicts(driver.Ack, ds...)...)
}

// verdicts settles all the deliveries alike.
func verdicts(v driver.Verdict, ds ...driver.Delivery) []driver.Settlement {
	out := make([]driver.Settlement, len(ds))
	for i, d := range ds {
		out[i] = driver.Settlement{Delivery: d, Verdict: v}
		if v == driver.Bury {
			out[i].Reason = driver.ReasonRejected
		}
	}
	return out
}

// lost makes sure that err names exactly these deliveries, in any order.
func (r *rig) lost(err error, want ...driver.Delivery) {
	r.Helper()
	var named *driver.LeaseLostError
	if !errors.As(err, &named) || !errors.Is(err, driver.ErrLeaseLost) {
		r.Errorf("error is %v, want a lost lease of %q", err, ids(want))
		return
	}
	tokens := map[driver.Token]bool{}
	for _, d := range named.Lost {
		tokens[d.Token] = true
	}
	for _, d := range want {
		if !tokens[d.Token] {
			r.Errorf("lost are %q, %s is not named", ids(named.Lost), d.ID)
		}
	}
	if len(named.Lost) != len(want) {
		r.Errorf("lost are %q, want %q", ids(named.Lost), ids(want))
	}
}

// ids are the deliveries' ids.
func ids(ds []driver.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.ID
	}
	return out
}

// expire lets leases of this length run out, and makes the transport notice it,
// since one may look at the clock only when it looks for messages: a consumer
// of another queue receives.
func (r *rig) expire(lease time.Duration) {
	r.Helper()
	r.pause(lease + 2*grain)
	c := r.consumer(lasting, "bystander")
	defer r.closeConsumer(c)
	e := env("bystander")
	e.Queue = "bystander"
	r.ack(c, r.claim(c, e))
}

// pause lets time pass.
func (r *rig) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	<-ctx.Done()
}
