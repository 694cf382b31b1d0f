package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
)

func leaseTests() []subtest {
	return []subtest{
		{"delivers again what nobody settled, and counts a crash", leaseExpires},
		{"takes back only what has run out", leaseOthersStand},
		{"counts every delivery and every crash", leaseCounts},
		{"keeps attempts and crashes apart", leaseKeepsAttempt},
		{"forgets crashes when somebody gives a message back who has looked at it", leaseAcquits},
		{"takes a crash back when whoever held it comes back", leaseTakesBack},
		{"takes back no more crashes than it may", leaseTakesBackSome},
		{"keeps its place in the queue when a lease runs out", leaseKeepsPlace},
		{"gives each claim the lease of its own consumer", leaseOwn},
		{"extends a lease from now on", leaseExtends},
		{"extends no deliveries", leaseExtendsNone},
		{"extends by the batch, and names the lost ones", leaseExtendsBatch},
		{"settles while leases are being extended", leaseConcurrent},
	}
}

func leaseExpires(r *rig) {
	first := r.claim(r.consumeFor(brief), env("silent"))
	second := r.wants(r.consume(), "silent")
	if second.Deliveries != 2 || second.Crashes != 1 || second.Attempt != 0 {
		r.Errorf("deliveries %d, crashes %d, attempt %d; want 2, 1, 0",
			second.Deliveries, second.Crashes, second.Attempt)
	}
	if second.Token == first.Token {
		r.Error("both claims have the same token")
	}
	if string(second.Body) != string(first.Body) || second.Kind != first.Kind {
		r.Errorf("received %+v, want %+v", second.Envelope, first.Envelope)
	}
}

// leaseOthersStand has one lease run out beside one that stands.
func leaseOthersStand(r *rig) {
	holder := r.consume()
	held := r.claim(holder, env("held"))
	r.claim(r.consumeFor(brief), env("silent"))
	other := r.consume()
	r.wants(other, "silent")
	r.nothing(other)
	if err := holder.Extend(r.soon(), held); err != nil {
		r.Errorf("extend a lease that stands: %v", err)
	}
}

func leaseCounts(r *rig) {
	c := r.consumeFor(brief / 5)
	r.send(env("silent"))
	for i := range 4 {
		d := r.wants(c, "silent")
		if d.Deliveries != i+1 || d.Crashes != i || d.Attempt != 0 {
			r.Errorf("claim %d: deliveries %d, crashes %d, attempt %d", i+1, d.Deliveries, d.Crashes, d.Attempt)
		}
	}
}

func leaseKeepsAttempt(r *rig) {
	c := r.consume()
	d := r.claim(c, env("failing"))
	r.settle(c, verdicts(driver.Retry, d)...)
	if d = r.wants(r.consumeFor(brief), "failing"); d.Attempt != 1 || d.Crashes != 0 {
		r.Errorf("attempt %d, crashes %d after a retry, want 1 and 0", d.Attempt, d.Crashes)
	}
	if d = r.wants(c, "failing"); d.Attempt != 1 || d.Crashes != 1 || d.Deliveries != 3 {
		r.Errorf("attempt %d, crashes %d, deliveries %d; want 1, 1, 3", d.Attempt, d.Crashes, d.Deliveries)
	}
}

// leaseAcquits: whoever lives and says that a message is to wait was not killed by it.
// Who only gives it back has not looked at it.
func leaseAcquits(r *rig) {
	c := r.consume()
	r.claim(r.consumeFor(brief), env("m"))
	d := r.wants(c, "m")
	r.settle(c, verdicts(driver.Release, d)...)
	if d = r.wants(c, "m"); d.Crashes != 1 {
		r.Errorf("crashes %d after a release without a word, want 1", d.Crashes)
	}
	r.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Retry, Delay: time.Millisecond})
	if d = r.wants(c, "m"); d.Crashes != 1 {
		r.Errorf("crashes %d after a retry, want 1", d.Crashes)
	}
	r.settle(c, driver.Settlement{
		Delivery: d, Verdict: driver.Release, Delay: time.Millisecond, Attempt: &driver.Attempt{
			Number: d.Attempt + 1, Worker: "w", Started: time.Now(), Class: driver.ClassTransient, Error: "connection lost",
		},
	})
	if d = r.wants(c, "m"); d.Crashes != 1 {
		r.Errorf("crashes %d after a fault of the infrastructure, want 1", d.Crashes)
	}
	r.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Release, Delay: time.Millisecond})
	if d = r.wants(c, "m"); d.Crashes != 0 || d.Attempt != 1 {
		r.Errorf("crashes %d, attempt %d after a release that lets it wait, want 0, 1", d.Crashes, d.Attempt)
	}
}

// leaseTakesBack has two who fell silent come back, each by another settlement, and once more.
func leaseTakesBack(r *rig) {
	frozen := r.consumeFor(brief)
	first := r.claim(frozen, env("m"))
	second := r.wants(frozen, "m")
	dead := r.wants(r.consumeFor(brief), "m")
	c := r.consume()
	d := r.wants(c, "m")
	if d.Crashes != 3 {
		r.Errorf("crashes %d, want 3", d.Crashes)
	}
	r.lost(frozen.Extend(r.soon(), first), first) // says nothing of its handler
	for range 2 {
		r.lost(frozen.Settle(r.soon(), verdicts(driver.Ack, first)...), first)
	}
	r.settle(c, verdicts(driver.Release, d)...)
	if d = r.wants(c, "m"); d.Crashes != 2 {
		r.Errorf("crashes %d after one came back, want 2", d.Crashes)
	}
	r.lost(frozen.Settle(r.soon(), verdicts(driver.Release, second)...), second)
	r.settle(c, verdicts(driver.Retry, d)...)
	if d = r.wants(c, "m"); d.Crashes != 1 || d.Attempt != 1 || d.Deliveries != 6 {
		r.Errorf("crashes %d, attempt %d, deliveries %d after both came back, want 1, 1, 6; %s is dead",
			d.Crashes, d.Attempt, d.Deliveries, dead.Token)
	}
	r.ack(c, d)
	r.lost(c.Settle(r.soon(), verdicts(driver.Ack, d)...), d)
}

// leaseTakesBackSome has a message freeze whoever holds it, each time.
func leaseTakesBackSome(r *rig) {
	c := r.consumeFor(grain)
	held := r.claim(c, env("m"))
	for i := range driver.MaxTakenBack + 3 {
		next := r.wants(c, "m")
		if want := 1 + max(0, i-driver.MaxTakenBack); next.Crashes != want {
			r.Fatalf("crashes %d after %d leases ran out, want %d", next.Crashes, i+1, want)
		}
		r.lost(c.Settle(r.soon(), verdicts(driver.Release, held)...), held)
		held = next
	}
}

func leaseKeepsPlace(r *rig) {
	r.claim(r.consumeFor(brief), env("oldest"))
	r.pause(2 * grain)
	r.send(env("newer"))
	r.expire(brief)
	r.ordered(r.consume(), "oldest", "newer")
}

func leaseOwn(r *rig) {
	r.send(env("a"), env("b"))
	r.wants(r.consumeFor(brief), "a")
	r.wants(r.consume(), "b")
	c := r.consume()
	r.wants(c, "a")
	r.nothing(c)
}

// leaseExtends holds a message three times as long as its lease. A machine that
// stalls may let the lease run out in between; that proves nothing, and is
// done again.
func leaseExtends(r *rig) {
	for try := range 10 {
		e := env(fmt.Sprint("held-", try))
		e.Queue = fmt.Sprint("try-", try)
		held, stalled := r.hold(e)
		if held {
			return
		}
		if !stalled {
			r.Fatal("the lease was lost although it was extended in time")
		}
	}
	r.Error("the machine stalls too often to hold a lease")
}

// hold extends a claim again and again while a rival waits for it. It reports
// whether it could be held, else whether an extension may have come too late.
func (r *rig) hold(e driver.Envelope) (held, stalled bool) {
	const lease = 2 * brief
	c, rival := r.consumeFor(lease, e.Queue), r.consume(e.Queue)
	r.send(e)
	last := time.Now()
	d := r.one(c)
	for end := last.Add(3 * lease); last.Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), lease/4)
		_, taken := rival.Receive(ctx, 1)
		cancel()
		now := time.Now()
		err := c.Extend(r.soon(), d)
		if err != nil || taken == nil {
			return false, time.Since(last) >= lease-grain
		}
		last = now
	}
	r.ack(c, d)
	return true, false
}

func leaseExtendsNone(r *rig) {
	if err := r.consume().Extend(r.soon()); err != nil {
		r.Errorf("extend: %v", err)
	}
}

func leaseExtendsBatch(r *rig) {
	c := r.consume()
	r.send(envs("batch", 6)...)
	ds := r.receive(c, 6)
	r.ack(c, ds[1], ds[4])
	r.lost(c.Extend(r.soon(), ds...), ds[1], ds[4])
	r.ack(c, ds[0], ds[2], ds[3], ds[5])
}

func leaseConcurrent(r *rig) {
	const n = 120
	c := r.consume()
	r.send(envs("both", n)...)
	ds := r.receive(c, n)
	ctx, cancel := context.WithCancel(context.Background())
	wait := start(func() {
		for ctx.Err() == nil {
			if err := c.Extend(ctx, ds...); err != nil && !errors.Is(err, driver.ErrLeaseLost) && ctx.Err() == nil {
				r.Errorf("extend: %v", err)
			}
		}
	})
	for i := range n / 3 {
		r.settle(c,
			driver.Settlement{Delivery: ds[3*i], Verdict: driver.Ack},
			driver.Settlement{Delivery: ds[3*i+1], Verdict: driver.Release},
			driver.Settlement{Delivery: ds[3*i+2], Verdict: driver.Retry})
	}
	cancel()
	wait()
	r.receive(c, n/3*2)
	r.nothing(c)
}
