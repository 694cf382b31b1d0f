package monitor

import (
	"maps"
	"slices"
	"time"
)

// A Past is what rules know of earlier readings. It is small, since it is kept
// in the store between two runs.
type Past struct {
	Queues  map[string]QueueMark  `json:"queues,omitempty"`
	Workers map[string]WorkerMark `json:"workers,omitempty"`
	Flows   map[string][]Sample   `json:"flows,omitempty"` // by program, oldest first
}

// A QueueMark is how a queue was at the last reading.
type QueueMark struct {
	Ready   int64     `json:"ready"`
	Head    time.Time `json:"head"`    // when its first ready message came due
	Claimed time.Time `json:"claimed"` // the newest claim that was seen
	Moved   time.Time `json:"moved"`   // when a reading last showed that something was taken from it
}

// A WorkerMark is how a worker was at the last reading.
type WorkerMark struct {
	Program string `json:"program"`
	Handled int64  `json:"handled"`
	Failed  int64  `json:"failed"`
	Idle    bool   `json:"idle"` // it had handled nothing since the reading before
}

// A Sample is how much the workers of a program did up to a reading.
type Sample struct {
	At      time.Time `json:"at"`
	Handled int64     `json:"handled"` // since the sample before
	Failed  int64     `json:"failed"`  // of those
}

// Bounds of a program's samples.
const (
	flowWithin = 5 * time.Minute
	flowMost   = 30
)

// with returns the past that has taken a reading in. What the reading does not
// know stays as it was.
func (p Past) with(r Reading) Past {
	next := Past{Queues: maps.Clone(p.Queues), Workers: maps.Clone(p.Workers), Flows: maps.Clone(p.Flows)}
	if r.Workers.Knowledge == Known {
		next.takeWorkers(p, r)
	}
	if r.Queues.Knowledge == Known {
		next.takeQueues(p, r)
	}
	return next
}

// takeWorkers notes what each worker has done, and adds it to its program's flow.
func (p *Past) takeWorkers(old Past, r Reading) {
	p.Workers = map[string]WorkerMark{}
	sum := map[string]*Sample{}
	for _, w := range r.Workers.Value {
		mark := WorkerMark{Program: w.Program, Handled: w.Handled, Failed: w.Failed}
		before, seen := old.Workers[w.ID]
		if seen {
			mark.Idle = before.Handled == w.Handled
			if sum[w.Program] == nil {
				sum[w.Program] = &Sample{At: r.At}
			}
			sum[w.Program].Handled += max(w.Handled-before.Handled, 0)
			sum[w.Program].Failed += max(w.Failed-before.Failed, 0)
		}
		p.Workers[w.ID] = mark
	}
	p.Flows = map[string][]Sample{}
	for program, samples := range old.Flows {
		p.Flows[program] = slices.Clone(samples)
	}
	for program, s := range sum {
		p.Flows[program] = append(p.Flows[program], *s)
	}
	for program, samples := range p.Flows {
		if samples = recent(samples, r.At); len(samples) == 0 {
			delete(p.Flows, program)
		} else {
			p.Flows[program] = samples
		}
	}
}

// recent drops samples that are too old. Those of the future, which a clock
// that was set back leaves behind, count as of now.
func recent(samples []Sample, at time.Time) []Sample {
	samples = slices.DeleteFunc(samples, func(s Sample) bool { return at.Sub(s.At) > flowWithin })
	for i := range samples {
		if samples[i].At.After(at) {
			samples[i].At = at
		}
	}
	return samples[max(len(samples)-flowMost, 0):]
}

// takeQueues looks for signs that something was taken from each queue.
func (p *Past) takeQueues(old Past, r Reading) {
	p.Queues = map[string]QueueMark{}
	for _, q := range r.Queues.Value {
		before, seen := old.Queues[q.Name]
		mark := QueueMark{Ready: q.Ready, Claimed: latest(r, before.Claimed, r.lastClaim(q.Name)), Moved: before.Moved}
		if q.Ready > 0 {
			mark.Head = r.At.Add(-q.Oldest)
		}
		if seen && (mark.movedSince(before) || p.finished(old, r, q.Name)) || mark.Moved.After(r.At) {
			mark.Moved = r.At
		}
		p.Queues[q.Name] = mark
	}
}

// latest is the later of two times, but not after the reading.
func latest(r Reading, a, b time.Time) time.Time {
	if b.After(a) {
		a = b
	}
	if a.After(r.At) {
		a = r.At
	}
	return a
}

// headDoubt is by how much the head of a queue seems to move when it does not:
// its age and the time of the reading are taken one after the other.
const headDoubt = 5 * time.Second

// movedSince reports whether the queue's figures show that something was taken.
func (m QueueMark) movedSince(before QueueMark) bool {
	return m.Ready < before.Ready || m.Claimed.After(before.Claimed) ||
		m.Ready > 0 && before.Ready > 0 && m.Head.Sub(before.Head) > headDoubt
}

// finished reports whether a worker that serves only this queue has handled
// something.
func (p *Past) finished(old Past, r Reading, queue string) bool {
	return slices.ContainsFunc(r.Workers.Value, func(w Worker) bool {
		before, seen := old.Workers[w.ID]
		return seen && len(w.Queues) == 1 && w.Queues[0] == queue && w.Handled > before.Handled
	})
}

// flow is how much a program's workers have done lately.
func (p Past) flow(program string) (handled, failed int64) {
	for _, s := range p.Flows[program] {
		handled, failed = handled+s.Handled, failed+s.Failed
	}
	return handled, failed
}
