package main

import (
	"slices"
	"testing"
	"time"
)

// What comes while connections are opened does not count as latency.
func TestTheFirstMessagesHaveNoLatency(t *testing.T) {
	t.Parallel()
	c := newCounter(order{Warm: 2, Times: 3})
	for _, ago := range []time.Duration{5 * time.Hour, 4 * time.Hour, time.Hour, 2 * time.Hour} {
		c.note(note{Sent: time.Now().Add(-ago).UnixNano()})
	}
	var rep report
	c.report(&rep)
	var hours []int
	for _, took := range rep.Latencies {
		hours = append(hours, int(took/time.Hour))
	}
	if rep.Seen != 4 || !slices.Equal(hours, []int{1, 2}) {
		t.Errorf("of %d messages, two of them to warm up, the latencies are %v h", rep.Seen, hours)
	}
}
