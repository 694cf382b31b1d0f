package drivertest

import (
	"errors"

	"github.com/posthorn/posthorn/driver"
)

func buryTests(c driver.Capabilities) []subtest {
	if !c.Bury {
		return []subtest{{"refuses a burial that it has not declared", buryUndeclared}}
	}
	return []subtest{
		{"never delivers what is buried", buryForGood},
		{"buries one of a batch without touching the others", buryOne},
	}
}

func buryUndeclared(r *rig) {
	c := r.consume()
	r.send(envs("kept", 2)...)
	ds := r.receive(c, 2)
	err := c.Settle(r.soon(),
		driver.Settlement{Delivery: ds[0], Verdict: driver.Ack},
		driver.Settlement{Delivery: ds[1], Verdict: driver.Bury, Reason: driver.ReasonRejected})
	if !errors.Is(err, driver.ErrUnsupported) {
		r.Errorf("settle returned %v, want %v", err, driver.ErrUnsupported)
	}
	r.ack(c, ds...) // none was done
}

func buryForGood(r *rig) {
	c := r.consumeFor(brief)
	d := r.claim(c, env("dead"))
	r.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonExhausted,
		Attempt: &driver.Attempt{Number: 1, Class: driver.ClassFailure, Error: "no such list"}})
	r.expire(brief)
	r.nothing(c)
}

func buryOne(r *rig) {
	c := r.consume()
	r.send(envs("batch", 3)...)
	ds := r.receive(c, 3)
	r.settle(c, verdicts(driver.Bury, ds[1])...)
	if err := c.Extend(r.soon(), ds[0], ds[2]); err != nil {
		r.Errorf("extend the others: %v", err)
	}
	r.ack(c, ds[0], ds[2])
}
