package main

import (
	"cmp"
	"math"
	"slices"
)

// A goal is a ratio to a peer in the same run, or a bound. None of them is
// asserted: machines differ.
type goal struct {
	store     string
	work, key string
	title     string
	peer      string  // empty: a bound
	peerWork  string  // what the peer does instead; empty: the same work
	floor     float64 // 0: there is none
	summit    float64 // 0: there is none
	unit      unit    // of a bound
	least     bool    // a bound that must be reached, not one that must not be exceeded
}

// goals are those of Posthorn, with nothing of its promises switched off.
func goals() []goal {
	return slices.Concat(
		on("sqlite", []goal{
			{work: "handle", title: "handle, no-op", peer: "backlite", floor: 15, summit: 40},
			{work: "handle-tx", title: "handle, one INSERT", peer: "goqite", floor: 25, summit: 50},
			{work: "dispatch-64", title: "dispatch one, 64 callers", peer: "backlite", floor: 15},
			{work: "dispatch-8", title: "dispatch one, 8 callers", peer: "river", floor: 3},
			{work: "dispatch-many", title: "dispatch many", peer: "river", floor: 2, summit: 3},
		}),
		on("postgres", []goal{
			{work: "handle", title: "handle, no-op", peer: "river", floor: 4, summit: 10},
			{work: "handle-tx", title: "handle, one INSERT", peer: "river", floor: 10, summit: 15},
			{work: "handle-tx", title: "handle, one INSERT", peer: "gue", floor: 4},
			{work: "handle-tx", title: "handle, one INSERT", peer: "watermill", floor: 3},
			{
				work: "handle-queued", title: "handle, one queued INSERT", peer: "river", peerWork: "handle-tx",
				floor: 30, summit: 45,
			},
			{work: "dispatch-64", title: "dispatch one, 64 callers", peer: "river", floor: 5},
			{work: "dispatch-8", title: "dispatch one, 8 callers", peer: "river", floor: 3},
			{work: "dispatch-many", title: "dispatch many", peer: "river", floor: 2, summit: 3},
			{work: "cost", key: "log_bytes", title: "log of the server for a message", floor: 1200, summit: 450, unit: octets},
			{
				work: "snapshot", key: "kept", title: "last tenth of many under a held snapshot",
				floor: 0.9, summit: 0.95, unit: times, least: true,
			},
		}),
		on("mariadb", []goal{
			{work: "handle", title: "handle, no-op", peer: "watermill", floor: 3.5, summit: 20},
			{work: "handle-tx", title: "handle, one INSERT", peer: "watermill", floor: 3, summit: 5},
		}),
	)
}

// on completes the goals of one store with those that every store has. What
// names no figure is about a rate.
func on(store string, own []goal) []goal {
	gs := append(own,
		goal{work: "dispatch-many", title: "dispatch many", peer: rawName, summit: 0.9},
		goal{work: "latency", key: "p50_ms", title: "latency p50", floor: 1.5, summit: 1.2, unit: millis},
		goal{work: "latency", key: "p99_ms", title: "latency p99", floor: 4, summit: 3, unit: millis},
		goal{
			work: "backlog", key: "flat", title: "rate with the largest backlog, against the smallest",
			floor: 0.95, unit: times, least: true,
		},
		goal{
			work: "workers", key: "x2", title: "2 worker processes against 1, handler of 5 ms",
			floor: 1.8, unit: times, least: true,
		},
		goal{work: "cost", key: "cpu_s", title: "CPU for 10,000 messages", floor: 0.2, summit: 0.1, unit: seconds},
		goal{work: "rss", key: "peak_mb", title: "resident memory at concurrency 64", floor: 40, unit: megabytes},
		goal{
			work: "safety", key: "noop_loop", title: "no-op with fencing, leases, history, against a build without",
			floor: 0.9, unit: times, least: true,
		},
		goal{
			work: "safety", key: "tx_loop", title: "one INSERT with fencing, leases, history, against a build without",
			floor: 0.9, unit: times, least: true,
		},
		goal{work: "idle", key: "percent", title: "idle worker, of one core", floor: 1, unit: percent},
	)
	for i := range gs {
		gs[i].store, gs[i].key = store, cmp.Or(gs[i].key, "rate")
	}
	return gs
}

// measured is the goal's figure.
func (g goal) measured(rs results) float64 {
	us := subject{g.store, ours}
	if g.peer == "" {
		return rs.median(one{g.work, g.key, us})
	}
	return rs.ratio(one{g.work, g.key, us}, one{cmp.Or(g.peerWork, g.work), g.key, subject{g.store, g.peer}})
}

// more reports whether more is better.
func (g goal) more() bool { return g.peer != "" || g.least }

// verdict says how far the figure got.
func (g goal) verdict(v float64) string {
	reached := func(mark float64) bool {
		if g.more() {
			return v >= mark
		}
		return v <= mark
	}
	switch {
	case math.IsNaN(v):
		return "not measured"
	case g.summit > 0 && reached(g.summit):
		return "summit"
	case g.floor > 0 && reached(g.floor):
		return "floor"
	}
	return "below"
}

// mark writes the floor or the summit.
func (g goal) mark(v float64) string {
	if v == 0 {
		return "–"
	}
	return g.text(v)
}

// text writes a figure of the goal.
func (g goal) text(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case g.peer == "":
		return g.unit.text(v)
	}
	return ratioText(v)
}
