package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// A family is a metric that grows with what happens: a counter, or with buckets a
// histogram. What the store tells is in store.go.
type family struct {
	name, help string
	labels     []dimension
	buckets    []float64 // upper bounds; none makes a counter
	limit      int       // series; what is beyond goes into the series of other
}

// A dimension is a label; its values are bounded together, whatever family has it.
type dimension string

// The dimensions.
const (
	byTransport dimension = "transport"
	byQueue     dimension = "queue"
	byKind      dimension = "kind"
	byClass     dimension = "class"
	byVerdict   dimension = "verdict"
	byProgram   dimension = "program"
	byReason    dimension = "reason"
	byPool      dimension = "pool"
)

// bounds say how many values a dimension may have.
func bounds() map[dimension]int {
	return map[dimension]int{
		byTransport: 100, byQueue: 200, byKind: 1000, byClass: 30, byVerdict: 5, byProgram: 100, byReason: 20, byPool: 10,
	}
}

// The families, as indexes into families().
const (
	messagesTotal = iota
	waitSeconds
	runSeconds
	staleTotal
	buriedTotal
	stuckTotal
	crashesTotal
	groupEffects
	dirtyTotal
	droppedTotal
	restartsTotal
	poolWaits
	poolWaitSeconds
	familyCount
)

// maxLabels is the most labels that a family has.
const maxLabels = 5

// families lists them in the order of their indexes.
func families() [familyCount]family {
	return [familyCount]family{
		messagesTotal: {name: "posthorn_messages_total", limit: 10_000,
			help: "Claims that ended, by how the attempt ended (class) and by what became of the message " +
				"(verdict: ack, retry, release, bury, or none where the lease was lost).",
			labels: []dimension{byTransport, byQueue, byKind, byClass, byVerdict}},
		waitSeconds: {name: "posthorn_message_wait_seconds", limit: 201, labels: []dimension{byQueue},
			help:    "How long messages had been due when their handler was entered.",
			buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600}},
		runSeconds: {name: "posthorn_message_run_seconds", limit: 1001, labels: []dimension{byKind},
			help:    "How long handlers ran, the effect included.",
			buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}},
		staleTotal: {name: "posthorn_stale_settlements_total", limit: 201, labels: []dimension{byQueue},
			help: "Attempts that ended when their lease was lost, and somebody else had the message."},
		buriedTotal: {name: "posthorn_buried_messages_total", limit: 201, labels: []dimension{byQueue},
			help: "Messages that workers made dead letters."},
		stuckTotal: {name: "posthorn_stuck_handlers_total", limit: 1001, labels: []dimension{byKind},
			help: "Handlers that ran on after their deadline."},
		crashesTotal: {name: "posthorn_message_crashes_total", limit: 1,
			help: "Messages that came back because whoever held them had died."},
		groupEffects: {name: "posthorn_group_commit_effects", limit: 1,
			help:    "How many messages' effects one transaction committed.",
			buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}},
		dirtyTotal: {name: "posthorn_dirty_connections_total", limit: 1001, labels: []dimension{byKind},
			help: "Connections destroyed because a handler left something in their session, by its kind."},
		droppedTotal: {name: "posthorn_dropped_events_total", limit: 1,
			help: "Events that these metrics have missed because they came too fast."},
		restartsTotal: {name: "posthorn_process_restarts_total", limit: 2121, labels: []dimension{byProgram, byReason},
			help: "Processes that ended and were replaced, by why they ended."},
		poolWaits: {name: "posthorn_pool_waits_total", limit: 11, labels: []dimension{byPool},
			help: "How often a connection to the store had to be waited for."},
		poolWaitSeconds: {name: "posthorn_pool_wait_seconds_total", limit: 11, labels: []dimension{byPool},
			help: "How long connections to the store were waited for."},
	}
}

// desc describes the family to Prometheus.
func (f family) desc() *prometheus.Desc {
	names := make([]string, len(f.labels))
	for i, d := range f.labels {
		names[i] = string(d)
	}
	return prometheus.NewDesc(f.name, f.help, names, nil)
}
