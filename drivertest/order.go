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
		{"lets no queue starve behind a full one", orderStarving},
		{"divides messages by the weights of their queues", orderWeights},
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

// drain receives n messages in small claims, acknowledges them, and counts them by
// queue.
func (r *rig) drain(c driver.Consumer, n int) map[string]int {
	r.Helper()
	got := map[string]int{}
	for left := n; left > 0; {
		ds := r.receive(c, min(left, 3))
		for _, d := range ds {
			got[d.Queue]++
		}
		left -= len(ds)
		r.settle(c, verdicts(driver.Ack, ds...)...)
	}
	return got
}

// fill sends n messages to each queue.
func (r *rig) fill(n int, queues ...string) {
	r.Helper()
	for _, q := range queues {
		batch := envs(q, n)
		for i := range batch {
			batch[i].Queue = q
		}
		r.send(batch...)
	}
}

func orderStarving(r *rig) {
	r.fill(120, "high", "middle", "low")
	got := r.drain(r.consume("high", "middle", "low"), 100)
	if got["high"] < 80 || got["middle"] == 0 || got["low"] == 0 {
		r.Errorf("received %v, want most of the first queue and something of each", got)
	}
}

func orderWeights(r *rig) {
	r.fill(120, "a", "b")
	sub := driver.Subscription{Queues: []string{"a", "b"}, Weights: []int{1, 3}, Lease: lasting}
	c, err := r.Transport.Consume(r.soon(), sub)
	if err != nil {
		r.Fatalf("consume with weights: %v", err)
	}
	r.Cleanup(func() { r.closeConsumer(c) })
	if got := r.drain(c, 100); got["a"] < 20 || got["a"] > 30 {
		r.Errorf("received %v, want a quarter of queue a", got)
	}
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
