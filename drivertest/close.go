package drivertest

import (
	"errors"

	"github.com/posthorn/posthorn/driver"
)

func closeTests() []subtest {
	return []subtest{
		{"ends a waiting Receive when the consumer is closed", closeConsumerUnblocks},
		{"ends waiting Receives when the transport is closed", closeTransportUnblocks},
		{"refuses calls after it was closed", closeRefuses},
		{"delivers again what a closed consumer held", closeRedelivers},
		{"keeps other consumers going when one is closed", closeOthers},
	}
}

// unblocked runs end while a Receive of the consumer waits, and makes sure that
// the Receive returns driver.ErrClosed.
func (r *rig) unblocked(c driver.Consumer, end func()) {
	done := make(chan error, 1)
	ctx := r.soon()
	wait := start(func() {
		_, err := c.Receive(ctx, 1)
		done <- err
	})
	defer wait()
	r.pause(glance)
	end()
	if err := <-done; !errors.Is(err, driver.ErrClosed) {
		r.Errorf("receive returned %v, want %v", err, driver.ErrClosed)
	}
}

func closeConsumerUnblocks(r *rig) {
	c := r.consumer(lasting)
	r.unblocked(c, func() { r.closeConsumer(c) })
}

func closeTransportUnblocks(r *rig) {
	r.unblocked(r.consumer(lasting), r.close)
}

func closeRefuses(r *rig) {
	c := r.consumer(lasting)
	r.close()
	r.refuse(driver.ErrClosed, env("late"))
	if _, err := c.Receive(r.soon(), 1); !errors.Is(err, driver.ErrClosed) {
		r.Errorf("receive returned %v, want %v", err, driver.ErrClosed)
	}
	sub := driver.Subscription{Queues: []string{queue}, Lease: lasting}
	if _, err := r.Transport.Consume(r.soon(), sub); !errors.Is(err, driver.ErrClosed) {
		r.Errorf("consume returned %v, want %v", err, driver.ErrClosed)
	}
}

func closeRedelivers(r *rig) {
	c := r.consumer(brief)
	r.claim(c, env("held"))
	r.closeConsumer(c)
	if d := r.wants(r.consume(), "held"); d.Deliveries != 2 || d.Crashes != 1 || d.Attempt != 0 {
		r.Errorf("deliveries %d, crashes %d, attempt %d; want 2, 1, 0", d.Deliveries, d.Crashes, d.Attempt)
	}
}

func closeOthers(r *rig) {
	gone, stays := r.consumer(lasting), r.consume()
	d := r.claim(stays, env("held"))
	r.closeConsumer(gone)
	r.ack(stays, d)
	r.claim(stays, env("next"))
}
