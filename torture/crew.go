package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/torture/oracle"
)

// The size of a crew, and how long its processes may take to end.
const (
	workers   = 3
	producers = 2
	isolated  = "q0"             // the place of the worker that runs suspects, one at a time
	limit     = 4000             // messages after which a worker ends by itself, P-12
	endWithin = 30 * time.Second // of being asked; a handler that hangs has most of it
)

// A crew is the processes of a run. One that ends is replaced, until the crew is
// dismissed.
type crew struct {
	command []string // starts a process of the run
	dir     string   // of ledgers and logs
	job     job      // what all have in common
	count   int      // messages to send; 0 means without end
	pulse   *pulse
	release func(driver.Death) // gives back what a dead worker held

	producing, operating, working sync.WaitGroup

	mu      sync.Mutex
	rnd     *rand.Rand
	members []*member
	closed  map[role]bool // not replaced any more
	births  int
	sent    map[string]int // by the producer's place
	keeping int            // places of producers that are kept
	found   []oracle.Finding
	charges []oracle.Charge
	rushes  []oracle.Rush
	deaths  map[string]int
	counts  CrewCounts
}

// CrewCounts are what became of the processes of a run.
type CrewCounts struct {
	Started  int `json:"started"`  // replacements included
	Killed   int `json:"killed"`   // by a fault
	Poisoned int `json:"poisoned"` // by a message
	Ended    int `json:"ended"`    // workers that ended by themselves: by a limit, or a handler that hung
	Refused  int `json:"refused"`  // commits and settlements whose lease was lost
	Away     int `json:"away"`     // attempts that failed while their partner was away
	Zombies  int `json:"zombies"`  // workers that went on after their leases had run out

	Executors       int `json:"executors"`        // that were killed by a fault: they carry operations on
	ExecutorZombies int `json:"executor_zombies"` // that went on after their operations had been free for others
}

func newCrew(command []string, dir string, j job, seed uint64) *crew {
	return &crew{
		command: command, dir: dir, job: j, pulse: newPulse(), rnd: rand.New(rand.NewPCG(seed, 1)),
		closed: map[role]bool{}, sent: map[string]int{}, deaths: map[string]int{}, release: func(driver.Death) {},
	}
}

// hire fills all places, and keeps them filled.
func (c *crew) hire() {
	direct := workers
	if canSupervise() == "" {
		direct -= supervised
		c.working.Go(func() { c.keep(roleSupervisor, "s0") })
	}
	for i := range direct {
		c.working.Go(func() { c.keep(roleWorker, fmt.Sprintf("w%d", i)) })
	}
	c.working.Go(func() { c.keep(roleWorker, isolated) })
	for i := range operators {
		c.operating.Go(func() { c.keep(roleOperator, fmt.Sprintf("o%d", i)) })
	}
	c.keeping = producers
	for i := range producers {
		c.producing.Go(func() {
			c.keep(roleProducer, fmt.Sprintf("p%d", i))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.keeping--
		})
	}
}

// keep fills a place until nobody is wanted there.
func (c *crew) keep(r role, place string) {
	for {
		j, wanted := c.next(r, place)
		if !wanted {
			return
		}
		m := &member{role: r, name: j.Name, done: make(chan struct{}), alone: j.Isolated}
		if err := m.start(c, j); err != nil {
			c.find(oracle.Resumed, "cannot start a process: %v", err)
			return
		}
		m.run(c)
		c.bury(m)
	}
}

// next makes the job of the next process of a place.
func (c *crew) next(r role, place string) (j job, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := 0
	if r == roleProducer && c.count > 0 {
		left = c.count/producers - c.sent[place]
	}
	if c.closed[r] || r == roleProducer && c.count > 0 && left <= 0 {
		return job{}, false
	}
	c.births++
	c.counts.Started++
	j = c.job
	j.Role, j.Name, j.Seed, j.Count, j.Limit = r, fmt.Sprintf("%s.%d", place, c.births), c.rnd.Uint64(), left, limit
	j.Isolated = place == isolated
	return j, true
}

// heed takes in what a process says.
func (c *crew) heed(m *member, e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.Ready != "":
		m.ready = e.Ready
	case e.Charge != nil:
		c.charges = append(c.charges, *e.Charge)
	case e.Rush != nil:
		c.rushes = append(c.rushes, *e.Rush)
	case e.Death != "":
		m.death = true
		if e.Counted {
			c.deaths[e.Death]++
		}
	case e.End != "":
		m.ended = true
		if e.Bad {
			m.bad = e.End
		}
	}
	place, _, _ := strings.Cut(m.name, ".")
	c.sent[place] += e.Sent
	c.counts.Refused += e.Lost
	c.counts.Away += e.Away
	if e.Done > 0 {
		c.pulse.beat(e.Done)
	}
}

// bury notes how a process ended.
func (c *crew) bury(m *member) {
	c.mu.Lock()
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
	died := true
	switch {
	case !m.killed && m.death && !m.ended:
		c.counts.Poisoned++
	case m.killed, c.fell(m):
		c.counts.Killed++
		if m.executes() {
			c.counts.Executors++
		}
	case m.bad != "":
		c.note(oracle.CleanEnd, "%s ended by an error: %s", m.name, m.bad)
	case !m.ended:
		c.note(oracle.Resumed, "%s ended by itself, with %s", m.name, m.how)
	default:
		died = false
		if !m.asked && m.role == roleWorker {
			c.counts.Ended++
		}
	}
	tell := died && m.role == roleWorker && m.ready != "" && c.rnd.IntN(2) == 0
	c.mu.Unlock()
	if tell { // as a supervisor does; else the lease has to run out
		c.release(m.obituary())
	}
}

func (c *crew) find(p oracle.Promise, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(p, format, args...)
}

// note is find for who has the lock.
func (c *crew) note(p oracle.Promise, format string, args ...any) {
	c.found = append(c.found, oracle.Finding{Promise: p, Text: fmt.Sprintf(format, args...)})
}

// pick picks a process that works; nil if there is none.
func (c *crew) pick(rnd *rand.Rand, r role) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ready []*member
	for _, m := range c.members {
		if m.role == r && m.ready != "" && !m.killed && !m.asked {
			ready = append(ready, m)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	slices.SortFunc(ready, func(a, b *member) int { return strings.Compare(a.name, b.name) })
	return ready[rnd.IntN(len(ready))]
}

// kill ends a process without a word.
func (c *crew) kill(m *member) {
	c.mu.Lock()
	m.killed = true
	c.mu.Unlock()
	_ = m.process.Kill() // it may have ended by itself
	<-m.done
}

// ask tells a process to end, and waits for that.
func (c *crew) ask(m *member) error {
	c.mu.Lock()
	m.askLocked()
	c.mu.Unlock()
	select {
	case <-m.done:
		return nil
	case <-time.After(endWithin):
	}
	c.kill(m)
	return fmt.Errorf("%s did not end within %s of being told to", m.name, endWithin)
}

// errNobody: no process works at this moment.
var errNobody = errors.New("no process works now")

// stop stops a process for a time, and lets it go on.
func (c *crew) stop(ctx context.Context, m *member, d time.Duration) error {
	if err := m.process.Signal(stopSignal); err != nil {
		return errNobody
	}
	wait(ctx, d)
	if err := m.process.Signal(continueSignal); err != nil {
		return errNobody
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.role == roleWorker {
		c.counts.Zombies++
	}
	if m.executes() {
		c.counts.ExecutorZombies++
	}
	return nil
}

// dismiss asks all of a role to end, replaces none, and waits for all.
func (c *crew) dismiss(r role) {
	roles := []role{r}
	if r == roleWorker {
		roles = append(roles, roleSupervisor)
	}
	c.mu.Lock()
	for _, r := range roles {
		c.closed[r] = true
	}
	c.mu.Unlock()
	var asking sync.WaitGroup
	for _, m := range c.all(roles...) {
		asking.Go(func() {
			if err := c.ask(m); err != nil {
				c.find(oracle.CleanEnd, "%v", err)
			}
		})
	}
	asking.Wait()
	map[role]*sync.WaitGroup{
		roleProducer: &c.producing, roleOperator: &c.operating, roleWorker: &c.working,
	}[r].Wait()
}

// all are the processes of some roles that the crew has started and that have not ended.
func (c *crew) all(rs ...role) (ms []*member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.under == nil && slices.Contains(rs, m.role) {
			ms = append(ms, m)
		}
	}
	return ms
}

// watchLoad ends a run whose producers have sent enough.
func (c *crew) watchLoad(ctx context.Context, end func()) {
	for ctx.Err() == nil {
		wait(ctx, 100*time.Millisecond)
		c.mu.Lock()
		keeping := c.keeping
		c.mu.Unlock()
		if keeping == 0 {
			end()
		}
	}
}
