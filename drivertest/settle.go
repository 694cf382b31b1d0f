package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func settleTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"removes what is acknowledged", settleAck},
		{"settles nothing", settleNone},
		{"counts an attempt for each retry", settleRetry},
		{"counts no attempt for a release", settleRelease},
		{"lets a retry and a release go on in another queue", settleMove},
		{"settles a batch of mixed verdicts, and names the lost ones", settleMixed},
		{"settles nothing of a batch with a queue's name that is bad", settleBadQueue},
		{"settles nothing when its context has ended", settleCancelled},
		{"takes what happened for the history", settleHistory},
		{"lets one of many settlements of a claim win", settleOnce},
	}
	if c.Delay {
		tests = append(tests,
			subtest{"keeps a retry back for its delay", settleRetryDelay},
			subtest{"keeps a release back for its delay", settleReleaseDelay},
			subtest{"puts a delayed retry behind what came meanwhile", settleRetryBehind},
		)
	}
	return tests
}

func settleAck(r *rig) {
	c := r.consumeFor(brief)
	d := r.claim(c, env("done"))
	r.ack(c, d)
	r.expire(brief)
	r.nothing(c)
}

func settleNone(r *rig) { r.settle(r.consume()) }

func settleRetry(r *rig) {
	c := r.consume()
	r.send(env("failing"))
	for i := range 4 {
		d := r.wants(c, "failing")
		if d.Attempt != i || d.Deliveries != i+1 || d.Crashes != 0 {
			r.Errorf("attempt %d, deliveries %d, crashes %d; want %d, %d, 0",
				d.Attempt, d.Deliveries, d.Crashes, i, i+1)
		}
		r.settle(c, verdicts(driver.Retry, d)...)
	}
}

func settleRelease(r *rig) {
	c := r.consume()
	e := env("returned")
	e.Attempt = 2
	r.send(e)
	for i := range 3 {
		d := r.wants(c, "returned")
		if d.Attempt != 2 || d.Deliveries != i+1 || d.Crashes != 0 {
			r.Errorf("attempt %d, deliveries %d, crashes %d; want 2, %d, 0",
				d.Attempt, d.Deliveries, d.Crashes, i+1)
		}
		r.settle(c, verdicts(driver.Release, d)...)
	}
}

func settleMove(r *rig) {
	here, there := r.consume(), r.consume("there")
	for i, v := range []driver.Verdict{driver.Retry, driver.Release} {
		d := r.claim(here, env(fmt.Sprint("moving-", i)))
		r.settle(here, driver.Settlement{Delivery: d, Verdict: v, Queue: "there"})
		if d := r.wants(there, d.ID); d.Queue != "there" {
			r.Errorf("queue is %q, want %q", d.Queue, "there")
		}
	}
	r.nothing(here)
}

func settleMixed(r *rig) {
	c := r.consume()
	r.send(envs("mixed", 9)...)
	ds := r.receive(c, 9)
	r.ack(c, ds[6], ds[7], ds[8])
	ss := []driver.Settlement{
		{Delivery: ds[6], Verdict: driver.Ack},
		{Delivery: ds[0], Verdict: driver.Ack},
		{Delivery: ds[1], Verdict: driver.Retry},
		{Delivery: ds[7], Verdict: driver.Retry},
		{Delivery: ds[2], Verdict: driver.Release},
		{Delivery: ds[8], Verdict: driver.Release},
		{Delivery: ds[3], Verdict: driver.Retry, Queue: "there"},
		{Delivery: ds[4], Verdict: driver.Ack},
	}
	if r.caps.Bury {
		ss = append(ss, driver.Settlement{Delivery: ds[5], Verdict: driver.Bury, Reason: driver.ReasonRejected})
	}
	r.lost(c.Settle(r.soon(), ss...), ds[6], ds[7], ds[8])
	attempts := map[string]int{ds[1].ID: 1, ds[2].ID: 0, ds[3].ID: 1}
	for _, d := range append(r.receive(c, 2), r.one(r.consume("there"))) {
		if want, back := attempts[d.ID]; !back || d.Attempt != want {
			r.Errorf("%s came back with attempt %d; want %v", d.ID, d.Attempt, attempts)
		}
	}
	r.nothing(r.consume(queue, "there"))
}

func settleBadQueue(r *rig) {
	c := r.consume()
	r.send(envs("whole", 3)...)
	ds := r.receive(c, 3)
	err := c.Settle(r.soon(),
		driver.Settlement{Delivery: ds[0], Verdict: driver.Release},
		driver.Settlement{Delivery: ds[1], Verdict: driver.Retry, Queue: "not a queue"},
		driver.Settlement{Delivery: ds[2], Verdict: driver.Ack})
	if !errors.Is(err, driver.ErrInvalid) {
		r.Errorf("settle returned %v, want %v", err, driver.ErrInvalid)
	}
	r.nothing(c)
	r.ack(c, ds...)
}

func settleCancelled(r *rig) {
	c := r.consume()
	d := r.claim(c, env("kept"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Settle(ctx, verdicts(driver.Ack, d)...); !errors.Is(err, context.Canceled) {
		r.Errorf("settle returned %v, want the context's error", err)
	}
	r.ack(c, d)
}

func settleHistory(r *rig) {
	c := r.consume()
	long := make([]byte, 2*driver.MaxAttemptStack)
	r.send(env("failing"))
	for i, text := range []string{"", "no such column \x00 \xff", string(long)} {
		d := r.wants(c, "failing")
		r.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Retry, Attempt: &driver.Attempt{
			Number: i + 1, Worker: "suite-worker", Started: time.Now(), Duration: time.Second,
			Class: driver.ClassPanic, Error: text, Stack: text,
		}})
	}
	r.ack(c, r.wants(c, "failing"))
}

func settleOnce(r *rig) {
	c := r.consume()
	d := r.claim(c, env("wanted"))
	const rivals = 8
	errs := make([]error, rivals)
	ctx := r.soon()
	waits := make([]func(), rivals)
	for i := range rivals {
		waits[i] = start(func() { errs[i] = c.Settle(ctx, verdicts(driver.Ack, d)...) })
	}
	won := 0
	for i, wait := range waits {
		wait()
		if errs[i] == nil {
			won++
			continue
		}
		r.lost(errs[i], d)
	}
	if won != 1 {
		r.Errorf("%d of %d settlements of one claim succeeded", won, rivals)
	}
}

// delayed gives a message back for later, and makes sure that it waits.
func (r *rig) delayed(v driver.Verdict, attempt int) {
	c := r.consume()
	d := r.claim(c, env("later"))
	due := time.Now().Add(brief)
	r.settle(c, driver.Settlement{Delivery: d, Verdict: v, Delay: brief})
	d = r.wants(c, "later")
	if early := time.Until(due); early > grain {
		r.Errorf("delivered %s before it was due", early)
	}
	if d.Attempt != attempt || d.Deliveries != 2 || d.Crashes != 0 {
		r.Errorf("attempt %d, deliveries %d, crashes %d; want %d, 2, 0", d.Attempt, d.Deliveries, d.Crashes, attempt)
	}
}

func settleRetryDelay(r *rig) { r.delayed(driver.Retry, 1) }

func settleReleaseDelay(r *rig) { r.delayed(driver.Release, 0) }

// settleRetryBehind repeats itself with a longer delay where the machine was so slow
// that the retry was due before the other message was sent: both orders are right then.
func settleRetryBehind(r *rig) {
	c := r.consume()
	for delay := glance; ; delay *= 2 {
		d := r.claim(c, env("failing"))
		begin := time.Now()
		r.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Retry, Delay: delay})
		r.send(env("meanwhile"))
		inTime := time.Since(begin) < delay
		r.pause(2 * delay)
		if inTime {
			r.ordered(c, "meanwhile", "failing")
			return
		}
		for range 2 {
			r.ack(c, r.one(c))
		}
	}
}
