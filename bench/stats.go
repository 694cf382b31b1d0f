package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A unit is how a figure is written.
type unit int

// The units.
const (
	perSecond unit = iota
	millis
	megabytes
	percent
)

// text writes a figure with its unit.
func (u unit) text(v float64) string {
	switch u {
	case millis:
		return fmt.Sprintf("%.2f ms", v)
	case megabytes:
		return fmt.Sprintf("%.0f MB", v)
	case percent:
		return fmt.Sprintf("%.2f %%", v)
	}
	switch {
	case v >= 99_500:
		return fmt.Sprintf("%.0f k/s", v/1000)
	case v >= 995:
		return fmt.Sprintf("%.1f k/s", v/1000)
	}
	return fmt.Sprintf("%.0f/s", v)
}

// median is NaN for nothing.
func median(vs []float64) float64 {
	if len(vs) == 0 {
		return math.NaN()
	}
	vs = slices.Sorted(slices.Values(vs))
	mid := len(vs) / 2
	if len(vs)%2 == 1 {
		return vs[mid]
	}
	return (vs[mid-1] + vs[mid]) / 2
}

// quantile of sorted durations: the least that is not exceeded by a part q.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// short writes figures on a line of progress.
func short(figures map[string]float64) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(figures)) {
		parts = append(parts, fmt.Sprintf("%s %.5g", key, figures[key]))
	}
	return strings.Join(parts, "  ")
}

// results are all the runs.
type results []result

// of lists what was measured of a figure on a system, by round.
func (rs results) of(work, key string, s subject) map[int]float64 {
	out := map[int]float64{}
	for _, r := range rs {
		if v, ok := r.Figures[key]; ok && r.Work == work && r.subject == s {
			out[r.Round] = v
		}
	}
	return out
}

// median of a figure on a system; NaN when it was not measured.
func (rs results) median(work, key string, s subject) float64 {
	return median(slices.Collect(maps.Values(rs.of(work, key, s))))
}

// ratio of two systems: the median of the rounds' ratios, so that both sides
// of each were measured within seconds of each other.
func (rs results) ratio(work, key string, s, peer subject) float64 {
	ours, theirs := rs.of(work, key, s), rs.of(work, key, peer)
	var ratios []float64
	for round, v := range ours {
		if p, ok := theirs[round]; ok && p > 0 {
			ratios = append(ratios, v/p)
		}
	}
	return median(ratios)
}
