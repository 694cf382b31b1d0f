package main

import (
	"math"
	"testing"
	"time"
)

func TestMedianIsTheMiddleOrTheMeanOfTheMiddleTwo(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{8, 2, 4, 100}, 6},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestQuantileIsTheLeastThatIsNotExceededByItsPart(t *testing.T) {
	sorted := make([]time.Duration, 100)
	for i := range sorted {
		sorted[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v = %d, want %d", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d, want 0", got)
	}
}

// results of three rounds, in the second of which the machine was busy and in
// the third of which the peer is missing.
func sample() results {
	run := func(round int, system string, rate float64) result {
		return result{
			Round: round, Work: "handle", subject: from(system).subject, Figures: map[string]float64{"rate": rate},
		}
	}
	elsewhere := run(1, "peer", 1)
	elsewhere.Store = "sqlite"
	return results{
		run(1, "posthorn", 600), run(1, "peer", 20), run(2, "posthorn", 100), run(2, "peer", 5), run(3, "posthorn", 900),
		elsewhere,
	}
}

// from names a system of the sample.
func from(system string) one { return one{"handle", "rate", subject{"postgres", system}} }

func TestRatiosAreTakenWithinARound(t *testing.T) {
	if got := sample().ratio(from("posthorn"), from("peer")); got != 25 { // of 30 and 20
		t.Errorf("ratio = %v, want 25", got)
	}
	if got := sample().ratio(from("posthorn"), from("nobody")); !math.IsNaN(got) {
		t.Errorf("ratio to an unmeasured peer = %v, want NaN", got)
	}
	if got := sample().median(from("posthorn")); got != 600 {
		t.Errorf("median = %v, want 600", got)
	}
}

func TestVerdictKnowsWhetherMoreIsBetter(t *testing.T) {
	ratio := goal{peer: "peer", floor: 2, summit: 3}
	bound := goal{floor: 4, summit: 3}
	least := goal{floor: 0.9, summit: 0.95, least: true}
	for _, c := range []struct {
		goal  goal
		value float64
		want  string
	}{
		{ratio, 1.9, "below"},
		{ratio, 2, "floor"},
		{ratio, 3, "summit"},
		{bound, 4.1, "below"},
		{bound, 4, "floor"},
		{bound, 0, "summit"},
		{bound, math.NaN(), "not measured"},
		{least, 0.89, "below"},
		{least, 0.9, "floor"},
		{least, 1.2, "summit"},
	} {
		if got := c.goal.verdict(c.value); got != c.want {
			t.Errorf("verdict of %+v on %v = %q, want %q", c.goal, c.value, got, c.want)
		}
	}
}
