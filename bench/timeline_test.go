package main

import (
	"math"
	"testing"
)

func TestARateIsTakenBetweenTwoMessagesOfAHistory(t *testing.T) {
	h := history{1000: 10, 1001: 10, 1005: 5}
	h.add(history{1001: 10, 1007: 5})
	for _, c := range []struct {
		from, to int
		want     float64 // messages in a step of 5 ms
	}{
		{0, 10, 10},  // within the first step
		{10, 30, 20}, // of both histories
		{20, 30, 20}, // a part of a step
		{30, 40, 10.0 / 6},
	} {
		if got := h.rate(c.from, c.to) * step.Seconds(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("rate from %d to %d = %v a step, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestATimelineNotesEachMessage(t *testing.T) {
	line := newTimeline()
	for range 7 {
		line.note()
	}
	all := 0
	for _, n := range line.history() {
		all += n
	}
	if all != 7 {
		t.Errorf("history has %d messages, want 7", all)
	}
}
