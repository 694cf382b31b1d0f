package drivertest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
)

// checkModel compares the transport with a model of it over random histories.
// They share the transport, each with queues of its own.
func checkModel(r *rig) {
	var histories atomic.Int64
	rapid.Check(r.T, func(t *rapid.T) {
		prefix := fmt.Sprintf("h%d", histories.Add(1))
		m := newModel(r, t, prefix)
		defer m.close()
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			m.step()
		}
		m.drain()
	})
}

// A known is what the model knows of a live message.
type known struct {
	rank, priority               int
	attempt, deliveries, crashes int
	returned                     int // crashes taken back
}

// A model is one history: what should wait, what should be held, and which
// claims have ended.
type model struct {
	*rig
	t       *rapid.T
	prefix  string
	queues  []string // the first one is served first
	steady  driver.Consumer
	mayfly  driver.Consumer // its leases run out at once
	sent    int
	waiting map[string]*known
	held    map[string]driver.Delivery
	state   map[string]*known // of what is held
	ended   []driver.Delivery
	charged map[driver.Token]bool // claims whose leases ran out
	taken   int                   // deliveries
	ahead   int                   // of those, how many came before an earlier queue was empty
}

func newModel(r *rig, t *rapid.T, prefix string) *model {
	m := &model{
		rig: r, t: t, prefix: prefix, queues: []string{prefix + "-a", prefix + "-b"},
		waiting: map[string]*known{}, held: map[string]driver.Delivery{}, state: map[string]*known{},
		charged: map[driver.Token]bool{},
	}
	m.steady, m.mayfly = r.consumer(lasting, m.queues...), r.consumer(grain, m.queues...)
	return m
}

func (m *model) close() {
	m.closeConsumer(m.steady)
	m.closeConsumer(m.mayfly)
}

// step does one thing that makes sense now.
func (m *model) step() {
	acts := []func(){m.sendSome}
	if len(m.waiting) > 0 {
		acts = append(acts, m.receiveSome, m.receiveSome, m.loseSome)
	}
	if len(m.held) > 0 {
		acts = append(acts, m.settleSome, m.settleSome, m.extendAll)
	}
	acts[rapid.IntRange(0, len(acts)-1).Draw(m.t, "act")]()
}

// sendSome sends a batch, which is refused as a whole when it has a live id.
func (m *model) sendSome() {
	n := rapid.IntRange(1, 4).Draw(m.t, "batch")
	var batch []driver.Envelope
	for range n {
		e := env(fmt.Sprintf("%s-m%d", m.prefix, m.sent))
		rank := rapid.IntRange(0, 1).Draw(m.t, "queue")
		e.Queue = m.queues[rank]
		if m.caps.Priority {
			e.Priority = rapid.IntRange(-1, 1).Draw(m.t, "priority")
		}
		m.sent++
		batch = append(batch, e)
	}
	if id := m.anyLive(); m.caps.UniqueIDs && id != "" && rapid.IntRange(0, 4).Draw(m.t, "duplicate") == 0 {
		m.refuse(driver.ErrDuplicate, append(batch, env(id))...)
		return
	}
	m.send(batch...)
	for _, e := range batch {
		m.waiting[e.ID] = &known{rank: slices.Index(m.queues, e.Queue), priority: e.Priority}
	}
}

func (m *model) anyLive() string {
	for id := range m.waiting {
		return id
	}
	for id := range m.held {
		return id
	}
	return ""
}

// receiveSome claims for good.
func (m *model) receiveSome() {
	for _, d := range m.take(m.steady) {
		m.held[d.ID], m.state[d.ID] = d, m.waiting[d.ID]
		delete(m.waiting, d.ID)
	}
}

// loseSome claims and falls silent: the messages wait again.
func (m *model) loseSome() {
	ds := m.take(m.mayfly)
	m.expire(grain)
	for _, d := range ds {
		m.waiting[d.ID].crashes++
		m.ended = append(m.ended, d)
		m.charged[d.Token] = true
	}
	m.lost(m.mayfly.Extend(m.soon(), ds...), ds...)
}

// take receives, and compares what came with what waits.
func (m *model) take(c driver.Consumer) []driver.Delivery {
	limit := rapid.IntRange(1, 5).Draw(m.t, "limit")
	ds, err := c.Receive(m.soon(), limit)
	if err != nil || len(ds) == 0 || len(ds) > limit {
		m.t.Fatalf("receive of at most %d returned %d, %v; %d wait", limit, len(ds), err, len(m.waiting))
	}
	rest := map[string]*known{}
	for id, k := range m.waiting {
		rest[id] = k
	}
	for _, d := range ds {
		k := rest[d.ID]
		if k == nil {
			m.t.Fatalf("received %s, which does not wait", d.ID)
		}
		delete(rest, d.ID)
		k.deliveries++
		m.compare(d, k)
		m.firstOf(k, rest)
	}
	return ds
}

// compare checks the counts of a delivery.
func (m *model) compare(d driver.Delivery, k *known) {
	got := known{slices.Index(m.queues, d.Queue), d.Priority, d.Attempt, d.Deliveries, d.Crashes, k.returned}
	if got != *k {
		m.t.Fatalf("%s has %+v, want %+v", d.ID, got, *k)
	}
}

// firstOf checks that nothing that waits should have come before k. A later queue may
// have its small share before an earlier one is empty.
func (m *model) firstOf(k *known, rest map[string]*known) {
	ahead := false
	for id, other := range rest {
		if other.rank == k.rank && other.priority > k.priority {
			m.t.Fatalf("received %+v although %s waits with %+v", *k, id, *other)
		}
		ahead = ahead || other.rank < k.rank
	}
	m.taken++
	if ahead {
		m.ahead++
	}
	if m.ahead > 2+m.taken/10 {
		m.t.Fatalf("received %d of %d deliveries ahead of an earlier queue's", m.ahead, m.taken)
	}
}

// settleSome settles what is held, and beside it claims that have ended.
func (m *model) settleSome() {
	var ss []driver.Settlement
	for _, id := range sortedIDs(m.held) {
		if rapid.Bool().Draw(m.t, "settle") {
			ss = append(ss, m.settlement(m.held[id]))
		}
	}
	var stale []driver.Delivery
	if len(m.ended) > 0 && rapid.Bool().Draw(m.t, "stale") {
		stale = append(stale, m.ended[rapid.IntRange(0, len(m.ended)-1).Draw(m.t, "which")])
		ss = append(verdicts(driver.Ack, stale...), ss...)
	}
	given := slices.Clone(ss)
	err := m.steady.Settle(m.soon(), given...)
	clear(given) // it is the caller's again
	if len(stale) > 0 {
		m.lost(err, stale...)
		m.cameBack(stale[0])
	} else if err != nil {
		m.t.Fatalf("settle: %v", err)
	}
	for _, s := range ss[len(stale):] {
		m.settled(s)
	}
}

// cameBack takes back a crash in the model: whoever held the message lives.
func (m *model) cameBack(d driver.Delivery) {
	k := m.waiting[d.ID]
	if k == nil {
		k = m.state[d.ID]
	}
	if k != nil && m.charged[d.Token] && k.returned < driver.MaxTakenBack {
		k.crashes--
		k.returned++
		m.charged[d.Token] = false
	}
}

func sortedIDs(held map[string]driver.Delivery) []string {
	out := make([]string, 0, len(held))
	for id := range held {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// settlement chooses a verdict.
func (m *model) settlement(d driver.Delivery) driver.Settlement {
	verdict := []driver.Verdict{driver.Ack, driver.Retry, driver.Release, driver.Bury}
	last := 2
	if m.caps.Bury {
		last = 3
	}
	s := verdicts(verdict[rapid.IntRange(0, last).Draw(m.t, "verdict")], d)[0]
	if s.Verdict != driver.Bury && s.Verdict != driver.Ack && rapid.Bool().Draw(m.t, "move") {
		s.Queue = m.queues[rapid.IntRange(0, 1).Draw(m.t, "to")]
	}
	return s
}

// settled does in the model what the transport has done.
func (m *model) settled(s driver.Settlement) {
	id := s.Delivery.ID
	k := m.state[id]
	delete(m.held, id)
	delete(m.state, id)
	m.ended = append(m.ended, s.Delivery)
	if s.Verdict == driver.Ack || s.Verdict == driver.Bury {
		return
	}
	if s.Verdict == driver.Retry {
		k.attempt++
	}
	if s.Queue != "" {
		k.rank = slices.Index(m.queues, s.Queue)
	}
	m.waiting[id] = k
}

func (m *model) extendAll() {
	var ds []driver.Delivery
	for _, id := range sortedIDs(m.held) {
		ds = append(ds, m.held[id])
	}
	if err := m.steady.Extend(m.soon(), ds...); err != nil {
		m.t.Fatalf("extend: %v", err)
	}
}

// drain empties the queues: nothing more and nothing less is there.
func (m *model) drain() {
	for _, id := range sortedIDs(m.held) {
		s := verdicts(driver.Release, m.held[id])[0]
		m.settle(m.steady, s)
		m.settled(s)
	}
	for len(m.waiting) > 0 {
		ds := m.take(m.steady)
		m.ack(m.steady, ds...)
		for _, d := range ds {
			delete(m.waiting, d.ID)
		}
	}
}
