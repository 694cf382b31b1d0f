package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/store"
)

// A cell is one figure of the store: a metric with the values of its labels.
type cell struct {
	desc   *prometheus.Desc
	values [3]string
	labels int
}

// A sheet puts figures together that have the same labels, since many may be called other.
type sheet struct {
	collector *storeCollector
	sums      map[cell]float64
}

// add adds to a figure; most keeps the largest.
func (s *sheet) add(d *prometheus.Desc, v float64, labels ...string) { s.sums[cellOf(d, labels)] += v }

func (s *sheet) most(d *prometheus.Desc, v float64, labels ...string) {
	k := cellOf(d, labels)
	s.sums[k] = max(s.sums[k], v)
}

func cellOf(d *prometheus.Desc, labels []string) cell {
	k := cell{desc: d, labels: len(labels)}
	copy(k.values[:], labels)
	return k
}

func (s *sheet) metrics() []prometheus.Metric {
	out := make([]prometheus.Metric, 0, len(s.sums))
	for k, v := range s.sums {
		out = append(out, value(k.desc, v, k.values[:k.labels]...))
	}
	return out
}

// queues puts down each queue that has messages, and each that is known: of those it is
// known that they are empty.
func (s *sheet) queues(snap snapshot) {
	c := s.collector
	for queue := range c.known.Queues {
		s.queue(store.QueueStats{Queue: queue})
	}
	for _, q := range snap.queues {
		s.queue(q)
	}
	for _, p := range snap.pauses {
		transport, queue := s.place(p.Queue)
		s.most(c.paused, 1, transport, queue)
	}
}

func (s *sheet) queue(q store.QueueStats) {
	c := s.collector
	transport, queue := s.place(q.Queue)
	for state, n := range map[string]int64{
		"ready": q.Ready, "delayed": q.Delayed, "in_flight": q.InFlight, "suspect": q.Suspects,
	} {
		s.add(c.messages, float64(n), transport, queue, state)
	}
	s.add(c.dead, float64(q.Dead), transport, queue)
	s.most(c.oldest, q.OldestAge.Seconds(), transport, queue)
}

// groups puts down each state, so that one is known to have none.
func (s *sheet) groups(snap snapshot) {
	for _, state := range []store.GroupState{
		store.GroupOpen, store.GroupAcknowledged, store.GroupMuted, store.GroupResolved, store.GroupRegressed,
	} {
		s.add(s.collector.groups, float64(snap.groups[state]), string(state))
	}
}

// place is a queue with its transport, as they are shown.
func (s *sheet) place(name string) (transport, queue string) {
	c := s.collector
	queue = c.tally.word(byQueue, name)
	if queue == other {
		return other, other
	}
	return c.tally.word(byTransport, c.known.Queues[name]), queue
}

// fleet puts down the workers; those of the known programs are there even when none runs.
func (s *sheet) fleet(snap snapshot) {
	c := s.collector
	for _, name := range c.known.Programs {
		s.add(c.workers, 0, c.tally.word(byProgram, name), "running")
	}
	for _, w := range snap.workers {
		program := c.tally.word(byProgram, w.Program)
		if snap.now.Sub(w.Seen) > store.WorkerSilence {
			s.add(c.workers, 1, program, "silent")
			continue
		}
		state := "running"
		if w.State != state {
			state = "stopping"
		}
		s.add(c.workers, 1, program, state)
		s.add(c.inHand, float64(w.InFlight), program)
		s.add(c.slots, float64(w.Concurrency), program)
		s.most(c.memory, float64(w.RSS), program)
		if w.Limits.Memory > 0 {
			s.most(c.memoryLimit, float64(w.Limits.Memory), program)
		}
	}
}

// word is what the tally calls a value, so that a label has one bound everywhere.
func (t *Tally) word(d dimension, v string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.words[d].word(v)
}
