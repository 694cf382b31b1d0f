package drivertest

import (
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/driver"
)

func orderTests(c driver.Capabilities) []subtest {
	tests := []subtest{
		{"delivers in the order of acceptance", orderAccepted},
		{"serves an earlier queue first", orderQueues},
	}
	if c.Priority {
		tests = append(tests,
			subtest{"delivers a higher priority first", orderPriority},
			subtest{"keeps the order of acceptance within a priority", orderWithinPriority},
			subtest{"serves an earlier queue before a higher priority", orderQueueOverPriority},
		)
	} else {
		tests = append(tests, subtest{"refuses a priority that it has not declared", orderUndeclared})
	}
	if c.Delay {
		tests = append(tests, subtest{"delivers by due time what has come due", orderDue})
	}
	return append(tests, subtest{"refuses a priority out of range", orderOutOfRange})
}

// ordered receives as many, one by one and then together, and compares ids.
func (r *rig) ordered(c driver.Consumer, want ...string) {
	r.Helper()
	first := r.one(c)
	got := append([]string{first.ID}, ids(r.receive(c, len(want)-1))...)
	if !slices.Equal(got, want) {
		r.Errorf("received %q, want %q", got, want)
	}
}

// ranked is an envelope with a priority.
func ranked(id string, priority int) driver.Envelope {
	e := env(id)
	e.Priority = priority
	return e
}

func orderAccepted(r *rig) {
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprint("one-", i))
		r.send(env(want[i]))
	}
	batch := envs("batch", 10)
	for _, e := range batch {
		want = append(want, e.ID)
	}
	r.send(batch...)
	r.ordered(r.consume(), want...)
}

func orderQueues(r *rig) {
	for i := range 3 {
		low, high := env(fmt.Sprint("low-", i)), env(fmt.Sprint("high-", i))
		low.Queue, high.Queue = "low", "high"
		r.send(low, high)
	}
	r.ordered(r.consume("high", "low"), "high-0", "high-1", "high-2", "low-0", "low-1", "low-2")
}

func orderPriority(r *rig) {
	r.send(ranked("p0", 0), ranked("p-1", -1), ranked("p5", 5), ranked("pmin", driver.MinPriority))
	r.send(ranked("pmax", driver.MaxPriority), ranked("p10", 10))
	r.ordered(r.consume(), "pmax", "p10", "p5", "p0", "p-1", "pmin")
}

func orderWithinPriority(r *rig) {
	for i := range 4 {
		r.send(ranked(fmt.Sprint("b", i), 1), ranked(fmt.Sprint("a", i), 2))
	}
	r.ordered(r.consume(), "a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3")
}

func orderQueueOverPriority(r *rig) {
	first, second := ranked("first", driver.MinPriority), ranked("second", driver.MaxPriority)
	first.Queue, second.Queue = "one", "two"
	r.send(second, first)
	r.ordered(r.consume("one", "two"), "first", "second")
}

func orderUndeclared(r *rig) {
	r.refuse(driver.ErrUnsupported, ranked("high", 1))
	r.refuse(driver.ErrUnsupported, env("plain"), ranked("low", -1))
	r.nothing(r.consume())
}

func orderOutOfRange(r *rig) {
	r.refuse(driver.ErrInvalid, ranked("high", driver.MaxPriority+1))
	r.refuse(driver.ErrInvalid, ranked("low", driver.MinPriority-1))
	r.nothing(r.consume())
}

func orderDue(r *rig) {
	third, second, first := env("third"), env("second"), env("first")
	third.Delay, second.Delay, first.Delay = 3*glance, 2*glance, glance
	r.send(third, second, first)
	r.pause(4 * glance)
	r.send(env("last"))
	r.ordered(r.consume(), "first", "second", "third", "last")
}
