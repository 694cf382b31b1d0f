// Package sim plays a fleet in one thread and in virtual time: processes on hosts with
// and without a supervisor, a store behind a network, and every fault that chance thinks of.
// What it plays are the decisions of the real thing, by the code of the real thing (ADR 29):
// retry policy, verdicts, the order of queues, leases, suspects, restarts. What it models
// itself is what carries them out.
//
// A seed decides everything: the same seed gives the same history. The promises of
// safety are judged at each step, those of liveness once faults have healed.
package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/shelf"
)

// A Result is how a run ended.
type Result struct {
	Seed   uint64
	Broken string // the promise that was broken, and how; empty: none was
	Hash   uint64 // of all that happened
	Steps  int
	Tail   string // the last lines of the trace, of a run that broke a promise
	Counts Counts
}

// Counts are what happened in runs.
type Counts struct {
	Runs, Steps, Messages int
	Starts, Suspects      int // handlers that began, and how many of them of suspects
	Deaths, Restarts      int // of processes; restarts after a failure
	Effects, Letters      int
	Stale                 int // settlements and effects whose lease was lost
	Cut, Undone, Unknown  int // commits whose answer was lost; that were undone then; of which nobody learned
	Operations, Retried   int // on dead letters; letters that were put back
	Halts, Fenced         int // operations that stopped by themselves; steps of executors that had lost theirs
	Rests, InHand         int // steps that only looked, for the others' sake; letters that they saw in workers' hands
}

// Add sums up.
func (c *Counts) Add(o Counts) {
	for i, n := range o.all() {
		*c.all()[i] += *n
	}
}

// all are the counts in their order.
func (c *Counts) all() []*int {
	return []*int{
		&c.Runs, &c.Steps, &c.Messages, &c.Starts, &c.Suspects, &c.Deaths, &c.Restarts, &c.Effects, &c.Letters,
		&c.Stale, &c.Cut, &c.Undone, &c.Unknown, &c.Operations, &c.Retried, &c.Halts, &c.Fenced,
		&c.Rests, &c.InHand,
	}
}

// String says what happened.
func (c *Counts) String() string {
	return fmt.Sprintf("steps %d, messages %d, handlers begun %d, of suspects %d, deaths of processes %d, "+
		"restarts after a failure %d, effects %d, dead letters %d, stale settlements %d, answers of commits lost %d, "+
		"of those undone %d, never known %d, operations %d, letters put back %d, operations that stopped by themselves %d, "+
		"steps fenced %d, steps that rested %d, letters in hand seen %d",
		c.Steps, c.Messages, c.Starts, c.Suspects, c.Deaths, c.Restarts, c.Effects, c.Letters, c.Stale, c.Cut,
		c.Undone, c.Unknown, c.Operations, c.Retried, c.Halts, c.Fenced, c.Rests, c.InHand)
}

// at is a time of the world, which begins with a year.
func at(d time.Duration) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }

// suspectPatience is how long suspects wait for somebody who runs them alone.
const suspectPatience = time.Minute

// policy is the retry policy of all messages.
func policy() posthorn.RetryPolicy {
	return posthorn.RetryPolicy{MaxRetries: 3, Delay: 500 * time.Millisecond, MaxDelay: 4 * time.Second}
}

// A world is one run.
type world struct {
	rng     *rand.Rand
	now     time.Duration // since the beginning
	queue   events
	planned uint64
	steps   int
	stands  int // steps at this moment
	trace   trace
	broken  string
	over    bool // everything is done, and nothing more is to be seen
	counts  Counts

	store    *store
	producer life
	hosts    []*host
	fleet    []*process // all that ever started
	byID     map[string]*process
	messages map[string]*message
	order    []*message
	accepted int
	bench    *workbench // nil: the world has no operations

	queues      []string      // which all processes consume
	size        int           // messages
	left        int           // of them that the producer has not begun to send
	lease       time.Duration // of claims
	concurrency int
	prefetch    int
	sickness    float64       // how often a process cannot be started
	poison      float64       // how many messages kill
	faulty      time.Duration // how long there are faults
	healed      bool
	processes   int
}

// drained is when all must be over after the last fault has healed. It is generous: a poison
// may have to kill five times, suspects to wait, and a failed message to be tried again.
const drained = 10 * time.Minute

// Run plays a seed. Each line of its trace is written to out, if that is not nil.
func Run(seed uint64, out io.Writer) Result {
	w := newWorld(seed, out)
	w.note("seed %d: %d messages, lease %s, %d handlers a process", seed, w.size, w.lease, w.concurrency)
	for i, h := range w.hosts {
		h.open(w.chance([...]float64{0.9, 0.3}[i]))
	}
	w.left = w.size
	w.produce()
	if w.bench != nil {
		w.bench.work()
	}
	w.plague()
	w.after(w.faulty, w.heal)
	w.run(w.faulty + drained)
	if w.broken == "" {
		w.judgeEnd()
	}
	w.counts.Runs, w.counts.Steps, w.counts.Messages = 1, w.steps, w.accepted
	_, w.counts.Letters = w.store.shelf.Counts()
	r := Result{Seed: seed, Broken: w.broken, Hash: w.trace.hash, Steps: w.steps, Counts: w.counts}
	if w.broken != "" {
		r.Tail = w.trace.last()
	}
	return r
}

// newWorld draws what is the same for the whole run.
func newWorld(seed uint64, out io.Writer) *world {
	w := &world{messages: map[string]*message{}, byID: map[string]*process{}, queues: []string{"mail", "bulk"}}
	w.rng = rand.New(rand.NewPCG(seed, seed))
	w.trace = trace{hash: fnvOffset, out: out}
	w.producer.w = w
	w.store = &store{w: w, shelf: shelf.New(true), effects: map[string]int{}}
	w.size = 4 + w.rng.IntN(20)
	w.lease = w.between(1500*time.Millisecond, 6*time.Second)
	w.concurrency, w.prefetch = 1+w.rng.IntN(4), w.rng.IntN(3)
	w.faulty = w.between(10*time.Second, 40*time.Second)
	w.sickness = [...]float64{0, 0, 0.5}[w.rng.IntN(3)]
	w.poison = [...]float64{0.05, 0.1, 0.1, 0.5}[w.rng.IntN(4)]
	w.hosts = append(w.hosts, &host{w: w, name: "ship", size: 1 + w.rng.IntN(3)})
	if w.chance(0.6) {
		w.hosts = append(w.hosts, &host{w: w, name: "raft", size: 1 + w.rng.IntN(2)})
	}
	if seed%benchEvery == 0 {
		w.bench = newWorkbench(w)
	}
	return w
}

// plague lets faults happen until they heal.
func (w *world) plague() {
	w.after(w.between(0, w.faulty/5), func() {
		if w.healed {
			return
		}
		w.strike()
		w.plague()
	})
}

// strike is one fault.
func (w *world) strike() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	p := w.living()
	switch n := w.rng.IntN(9); {
	case n < 2 && p != nil:
		w.counts.Deaths++
		p.crash("killed")
	case n < 4 && p != nil:
		d := w.between(100*time.Millisecond, 3*w.lease)
		w.note("%s is paused for %s", p.id, d)
		p.pause(d)
	case n == 4 && h.boss != nil && !h.boss.dead:
		h.boss.die()
	case n == 5 && h.boss != nil && !h.boss.dead:
		h.boss.recycle()
	case n == 6:
		w.outage()
	case n == 7:
		h.skew = w.between(-time.Hour, time.Hour)
		w.note("the clock of %s jumps to %s", h.name, h.skew)
	case n == 8:
		w.store.skew = w.between(-10*time.Second, 10*time.Second)
		w.note("the clock of the store jumps to %s", w.store.skew)
	}
}

// outage takes the store away, now and then for longer than anybody asks for a commit.
func (w *world) outage() {
	d := w.between(50*time.Millisecond, 2*w.lease)
	if w.chance(0.1) {
		d += 2 * resolveFor
	}
	w.store.down = w.now + d
	w.note("the store is down for %s", d)
}

// living is a process that lives, by chance; nil if there is none.
func (w *world) living() *process {
	var ps []*process
	for _, p := range w.fleet {
		if !p.dead {
			ps = append(ps, p)
		}
	}
	if len(ps) == 0 {
		return nil
	}
	return ps[w.rng.IntN(len(ps))]
}

// heal ends all faults. Poisons still kill: they are no faults of the world's.
func (w *world) heal() {
	w.healed = true
	w.store.down, w.store.skew = 0, 0
	for _, h := range w.hosts {
		h.skew = 0
	}
	w.note("all faults have healed")
	for _, p := range w.fleet {
		p.pauses = 0
		p.resume()
	}
	if w.bench != nil {
		for _, e := range w.bench.executors {
			e.pauses = 0
			e.resume()
		}
	}
	w.every(time.Second, w.judgeProgress)
}

// fail says that a promise is broken. The first one counts.
func (w *world) fail(promise, format string, args ...any) {
	if w.broken == "" {
		w.broken = promise + ": " + fmt.Sprintf(format, args...)
		w.note("BROKEN: %s", w.broken)
	}
}
