package drivertest

import (
	"time"

	"github.com/posthorn/posthorn/driver"
)

func wakeTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"wakes a Receive for a message that is sent", wakeForSend},
		{"wakes a Receive for a message that is released", wakeForRelease},
		{"wakes a Receive when somebody else's lease runs out", wakeForExpiry},
		{"wakes a Receive for a message that moves to its queue", wakeForMove},
		{"wakes each of many Receives", wakeMany},
	}
	if c.Delay {
		tests = append(tests, subtest{"wakes a Receive when a message comes due", wakeForDue})
	}
	return tests
}

// whileWaiting runs fn when a Receive has been waiting for a while, and returns
// what the Receive got.
func (r *rig) whileWaiting(c driver.Consumer, fn func()) (d driver.Delivery) {
	r.Helper()
	got := make(chan []driver.Delivery, 1)
	ctx := r.soon()
	wait := start(func() {
		ds, err := c.Receive(ctx, 1)
		if err != nil {
			r.Errorf("receive: %v", err)
		}
		got <- ds
	})
	defer wait()
	r.pause(glance)
	fn()
	for _, d = range <-got {
		return d
	}
	return d
}

// woken makes sure that the Receive got this message.
func (r *rig) woken(d driver.Delivery, id string) {
	r.Helper()
	if d.ID != id {
		r.Errorf("receive returned %q, want %q", d.ID, id)
	}
}

func wakeForSend(r *rig) {
	r.woken(r.whileWaiting(r.consume(), func() { r.send(env("sent")) }), "sent")
}

func wakeForRelease(r *rig) {
	holder := r.consume()
	d := r.claim(holder, env("given-back"))
	got := r.whileWaiting(r.consume(), func() { r.settle(holder, verdicts(driver.Release, d)...) })
	r.woken(got, "given-back")
}

func wakeForExpiry(r *rig) {
	// Both wait before there is a lease: who gets nothing must learn of it.
	first, second := r.consumeFor(brief), r.consumeFor(brief)
	got := make(chan driver.Delivery, 2)
	for _, c := range []driver.Consumer{first, second} {
		defer start(func() { got <- r.whileWaiting(c, func() {}) })()
	}
	r.pause(glance)
	r.send(env("silent"))
	a, b := <-got, <-got
	r.woken(a, "silent")
	r.woken(b, "silent")
	if a.Crashes+b.Crashes != 1 {
		r.Errorf("crashes are %d and %d, want 0 and 1", a.Crashes, b.Crashes)
	}
}

func wakeForMove(r *rig) {
	e := env("moved")
	e.Queue = "before"
	holder := r.consume("before")
	d := r.claim(holder, e)
	got := r.whileWaiting(r.consume(), func() {
		r.settle(holder, driver.Settlement{Delivery: d, Verdict: driver.Retry, Queue: queue})
	})
	r.woken(got, "moved")
}

func wakeMany(r *rig) {
	const consumers = 10
	got := make(chan string, consumers)
	ctx := r.soon()
	for range consumers {
		c := r.consume()
		defer start(func() {
			ds, err := c.Receive(ctx, 1)
			if err != nil {
				r.Errorf("receive: %v", err)
			}
			for _, id := range ids(ds) {
				got <- id
			}
		})()
	}
	r.pause(glance)
	r.send(envs("each", consumers)...)
	seen := map[string]bool{}
	for range consumers {
		select {
		case id := <-got:
			seen[id] = true
		case <-ctx.Done():
			r.Fatalf("%d of %d consumers were woken", len(seen), consumers)
		}
	}
	if len(seen) != consumers {
		r.Errorf("%d different messages, want %d", len(seen), consumers)
	}
}

func wakeForDue(r *rig) {
	var due time.Time
	got := r.whileWaiting(r.consume(), func() {
		e := env("due")
		e.Delay = brief
		due = time.Now().Add(brief)
		r.send(e)
	})
	r.woken(got, "due")
	if early := time.Until(due); early > grain {
		r.Errorf("delivered %s before it was due", early)
	}
}
