package drivertest

import (
	"github.com/posthorn/posthorn/driver"
)

func fenceTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"refuses an old claim after its acknowledgement", fenceAcked},
		{"refuses an old claim while the message waits after a retry", fenceRetried},
		{"refuses an old claim while the message waits after a release", fenceReleased},
		{"refuses an old claim while the message waits in another queue", fenceMoved},
		{"refuses an old claim when its lease ran out and the message waits", fenceExpired},
		{"refuses an old claim when somebody else holds the message", fenceTaken},
		{"refuses an old claim when the same consumer claimed again", fenceSameConsumer},
		{"refuses an old claim when another message has its id", fenceSameID},
	}
	if c.Bury {
		tests = append(tests, subtest{"refuses an old claim when the message is dead", fenceBuried})
	}
	if c.Delay {
		tests = append(tests, subtest{"refuses an old claim while the message is delayed", fenceDelayed})
	}
	return tests
}

// refused tries all that can be done to a claim, which must be lost, alone and
// beside one that is not.
func (r *rig) refused(c driver.Consumer, old driver.Delivery) {
	r.Helper()
	all := []driver.Verdict{driver.Ack, driver.Retry, driver.Release}
	if r.caps.Bury {
		all = append(all, driver.Bury)
	}
	for _, v := range all {
		r.lost(c.Settle(r.soon(), verdicts(v, old)...), old)
	}
	r.lost(c.Extend(r.soon(), old), old)
	moved := driver.Settlement{Delivery: old, Verdict: driver.Retry, Queue: "stolen"}
	r.lost(c.Settle(r.soon(), moved), old)
	beside := env("beside-" + old.ID)
	beside.Queue = "beside"
	other := r.consume("beside")
	d := r.claim(other, beside)
	r.lost(c.Extend(r.soon(), old, d), old)
	r.lost(c.Settle(r.soon(), verdicts(driver.Ack, old, d)...), old)
	r.lost(c.Settle(r.soon(), verdicts(driver.Ack, d)...), d) // it was done
	r.nothing(r.consume("stolen"))
}

// unharmed makes sure that nothing was done to a message that waits.
func (r *rig) unharmed(want driver.Delivery) {
	r.Helper()
	c := r.consume(queue, "moved")
	d := r.wants(c, want.ID)
	if d.Deliveries != want.Deliveries || d.Crashes != want.Crashes || d.Attempt != want.Attempt {
		r.Errorf("deliveries %d, crashes %d, attempt %d; want %d, %d, %d", d.Deliveries, d.Crashes, d.Attempt,
			want.Deliveries, want.Crashes, want.Attempt)
	}
	r.ack(c, d)
	r.nothing(c)
}

func fenceAcked(r *rig) {
	c := r.consume()
	old := r.claim(c, env("done"))
	r.ack(c, old)
	r.refused(c, old)
	r.nothing(c)
}

func fenceRetried(r *rig) {
	c := r.consume()
	old := r.claim(c, env("waiting"))
	r.settle(c, verdicts(driver.Retry, old)...)
	r.refused(c, old)
	old.Deliveries, old.Attempt = 2, 1
	r.unharmed(old)
}

func fenceReleased(r *rig) {
	c := r.consume()
	old := r.claim(c, env("waiting"))
	r.settle(c, verdicts(driver.Release, old)...)
	r.refused(c, old)
	old.Deliveries = 2
	r.unharmed(old)
}

func fenceMoved(r *rig) {
	c := r.consume()
	old := r.claim(c, env("moving"))
	r.settle(c, driver.Settlement{Delivery: old, Verdict: driver.Release, Queue: "moved"})
	r.refused(c, old)
	old.Deliveries = 2
	r.unharmed(old)
}

func fenceDelayed(r *rig) {
	c := r.consume()
	old := r.claim(c, env("delayed"))
	r.settle(c, driver.Settlement{Delivery: old, Verdict: driver.Retry, Delay: lasting})
	r.refused(c, old)
	r.nothing(c)
}

func fenceBuried(r *rig) {
	c := r.consume()
	old := r.claim(c, env("dead"))
	r.settle(c, verdicts(driver.Bury, old)...)
	r.refused(c, old)
	r.nothing(c)
}

func fenceExpired(r *rig) {
	c := r.consumeFor(brief)
	old := r.claim(c, env("silent"))
	r.expire(brief)
	r.refused(c, old)
	old.Deliveries = 2 // whoever held it is back: no crash is counted
	r.unharmed(old)
}

func fenceTaken(r *rig) {
	slow, heir := r.consumeFor(brief), r.consume()
	old := r.claim(slow, env("taken"))
	d := r.wants(heir, "taken")
	r.refused(slow, old)
	if err := heir.Extend(r.soon(), d); err != nil {
		r.Errorf("extend the new claim: %v", err)
	}
	r.ack(heir, d)
	r.nothing(heir)
}

func fenceSameConsumer(r *rig) {
	c := r.consume()
	old := r.claim(c, env("again"))
	r.settle(c, verdicts(driver.Release, old)...)
	d := r.wants(c, "again")
	r.refused(c, old)
	r.lost(c.Settle(r.soon(), verdicts(driver.Ack, old, d)...), old)
	r.refused(c, d)
	r.nothing(c)
}

func fenceSameID(r *rig) {
	c := r.consume()
	old := r.claim(c, env("reborn"))
	r.ack(c, old)
	d := r.claim(c, env("reborn"))
	r.refused(c, old)
	r.ack(c, d)
}
