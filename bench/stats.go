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
type unit string

// The units.
const (
	perSecond unit = "per second"
	millis    unit = "ms"
	megabytes unit = "MB"
	percent   unit = "%"
	seconds   unit = "s"
	octets    unit = "B"
	times     unit = "×"
	messages  unit = "messages"
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
	case seconds:
		return fmt.Sprintf("%.2f s", v)
	case octets:
		return fmt.Sprintf("%.0f B", v)
	case times:
		return ratioText(v)
	case messages:
		return thousands(v)
	}
	return thousands(v) + "/s"
}

// thousands writes a number as short as it is read.
func thousands(v float64) string {
	switch {
	case v >= 99_500:
		return fmt.Sprintf("%.0f k", v/1000)
	case v >= 995:
		return fmt.Sprintf("%.1f k", v/1000)
	}
	return fmt.Sprintf("%.0f", v)
}

// ratioText writes a ratio with as many digits as mean something.
func ratioText(v float64) string {
	switch {
	case v < 2:
		return fmt.Sprintf("%.2f ×", v)
	case v < 10:
		return fmt.Sprintf("%.1f ×", v)
	}
	return fmt.Sprintf("%.0f ×", v)
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

// A one is one figure of one work on one subject.
type one struct {
	work, key string
	subject
}

// of lists what was measured, by round.
func (rs results) of(o one) map[int]float64 {
	out := map[int]float64{}
	for _, r := range rs {
		if v, ok := r.Figures[o.key]; ok && r.Work == o.work && r.subject == o.subject {
			out[r.Round] = v
		}
	}
	return out
}

// median of a figure; NaN when it was not measured.
func (rs results) median(o one) float64 { return median(slices.Collect(maps.Values(rs.of(o)))) }

// ratio of two figures: the median of the rounds' ratios, so that both sides of
// each were measured within seconds of each other.
func (rs results) ratio(our, peer one) float64 {
	ours, theirs := rs.of(our), rs.of(peer)
	var ratios []float64
	for round, v := range ours {
		if p, ok := theirs[round]; ok && p > 0 {
			ratios = append(ratios, v/p)
		}
	}
	return median(ratios)
}
