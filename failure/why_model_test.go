package failure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// A plight is a state that a message can be in.
type plight struct {
	what string
	// keep: it is leased to a worker that never returns it. The statements are run
	// then, with the message's id as their argument.
	keep  bool
	delay time.Duration
	stmts []string
}

// plights are far from the moment at which they would change by themselves.
func plights() []plight {
	const of = ` where id = `
	suspect := `update posthorn_message set state = 3, suspect = 1, token = null, worker = null, wake_at = `
	return []plight{
		{what: "ready"},
		{what: "delayed", delay: time.Hour},
		{what: "has come due", delay: time.Hour,
			stmts: []string{`update posthorn_message set due_at = due_at - 4000000, wake_at = wake_at - 4000000` + of}},
		{what: "leased", keep: true},
		{what: "lease has run out", keep: true,
			stmts: []string{`update posthorn_message set wake_at = wake_at - 4000000` + of}},
		{what: "suspect", keep: true, stmts: []string{suspect + `claimed_at` + of}},
		{what: "suspect for long", keep: true, stmts: []string{suspect + `claimed_at - 4000000` + of}},
	}
}

// queue is what a queue of the model has for workers, and whether it is paused.
type queue struct {
	name          string
	worker, pause string
}

// The model: for messages in random states, why has no reason that blocks exactly
// when a claim by a living worker of the queue, which knows the kind, returns it.
func TestNothingBlocksAMessageExactlyWhenAClaimReturnsIt(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := &model{T: t, store: open(t, kind, store.Options{})}
			rapid.Check(t, m.check)
		})
	}
}

// model is the store of all runs of a property, each of which has queues of its own.
type model struct {
	*testing.T
	store *store.Store
	runs  int
}

// most runs are enough: a run has many messages, and rapid would do a hundred.
const mostRuns = 12

func (m *model) check(t *rapid.T) {
	if m.runs++; m.runs > mostRuns {
		return
	}
	queues := []queue{}
	for i := range 3 {
		q := queue{
			name:   fmt.Sprintf("q%d-%d", m.runs, i),
			worker: rapid.SampledFrom([]string{"alive", "alive", "alive", "silent", "stopping", "none"}).Draw(t, "worker"),
			pause:  rapid.SampledFrom([]string{"no", "no", "no", "for ever", "for an hour", "over"}).Draw(t, "pause"),
		}
		m.furnish(t, q)
		queues = append(queues, q)
	}
	ids := map[string]string{}
	for i, p := range rapid.SliceOfN(rapid.SampledFrom(plights()), 5, 15).Draw(t, "messages") {
		e := driver.Envelope{
			ID: fmt.Sprintf("m%d-%d", m.runs, i), Delay: p.delay,
			Kind:     rapid.SampledFrom([]string{"known", "known", "unknown"}).Draw(t, "kind"),
			Queue:    rapid.SampledFrom(queues).Draw(t, "queue").name,
			Priority: rapid.IntRange(-2, 2).Draw(t, "priority"),
		}
		ids[e.ID] = fmt.Sprintf("%s, %s, in %s of %v", p.what, e.Kind, e.Queue, queues)
		m.put(t, e, p)
	}
	m.pause(t, queues)
	blocked, open := m.blocked(t, ids)
	taken := m.taken(t, queues, open)
	for id, what := range ids {
		if blocked[id] == slices.Contains(taken, id) {
			t.Fatalf("%s (%s): blocked %v, taken %v", id, what, blocked[id], taken)
		}
	}
	m.clear(t)
}

// furnish gives a queue its worker.
func (m *model) furnish(t *rapid.T, q queue) {
	if q.worker == "none" {
		return
	}
	_, err := m.store.Heartbeat(m.Context(), driver.WorkerRecord{
		ID: "w-" + q.name, State: map[bool]string{true: "stopping", false: "running"}[q.worker == "stopping"],
		Queues: []string{q.name}, Kinds: []string{"known"}, Started: time.Now(),
	})
	try(t, err)
	if q.worker == "silent" {
		m.run(t, "update posthorn_worker set seen_at = seen_at - 60000 where id = '"+"w-"+q.name+"'")
	}
}

func (m *model) run(t *rapid.T, stmt string) {
	_, err := m.store.DB().ExecContext(m.Context(), stmt)
	try(t, err)
}

// put sends a message and brings it into its plight. What is held is sent to a queue of
// its own first, so that nothing else is claimed with it.
func (m *model) put(t *rapid.T, e driver.Envelope, p plight) {
	home := e.Queue
	if p.keep {
		e.Queue = "aside"
	}
	try(t, m.store.Send(m.Context(), e))
	if p.keep {
		c := m.consumer(t, "ghost", e.Queue)
		_, err := c.Receive(m.Context(), 1)
		try(t, err)
		try(t, c.Close())
		m.run(t, "update posthorn_message set queue = '"+home+"' where id = '"+e.ID+"'")
	}
	for _, stmt := range p.stmts {
		m.run(t, stmt+"'"+e.ID+"'")
	}
	if m.store.SQL.LeasesDue != "" { // where to look follows from when leases end
		m.run(t, `update posthorn_lease set ends_at = coalesce((select min(m.wake_at) from posthorn_message m
			where m.state = 2 and m.token = posthorn_lease.token), 0)`)
	}
}

func (m *model) consumer(t *rapid.T, worker, queue string) driver.Consumer {
	c, err := m.store.Consume(m.Context(), driver.Subscription{
		Queues: []string{queue}, Lease: time.Hour, Worker: worker,
	})
	try(t, err)
	return c
}

func (m *model) pause(t *rapid.T, queues []queue) {
	for _, q := range queues {
		if q.pause == "no" {
			continue
		}
		p := store.Pause{Queue: q.name}
		if q.pause != "for ever" {
			p.For = time.Hour
		}
		_, err := m.store.Pause(m.Context(), p)
		try(t, err)
		if q.pause == "over" {
			m.run(t, "update posthorn_pause set until_ms = since_ms - 1 where queue = '"+q.name+"'")
		}
	}
}

// blocked is what why says; open is how many messages of each queue nothing blocks.
func (m *model) blocked(t *rapid.T, ids map[string]string) (out map[string]bool, open map[string]int) {
	out, open = map[string]bool{}, map[string]int{}
	for id := range ids {
		a, err := failure.Why(m.Context(), m.store, id, failure.WhyOptions{})
		try(t, err)
		if a == nil {
			t.Fatal("nothing is known of " + id)
		}
		if out[id] = a.Blocked(); !out[id] {
			open[a.Queue]++
		}
	}
	return out, open
}

// taken are the messages that the living workers receive and can handle. Those that
// nothing blocks are waited for; what comes besides has a moment to come.
func (m *model) taken(t *rapid.T, queues []queue, open map[string]int) (ids []string) {
	for _, q := range queues {
		if q.worker != "alive" {
			continue
		}
		c := m.consumer(t, "w-"+q.name, q.name)
		for n := 0; n < open[q.name]; {
			more := m.receive(t, c, 30*time.Second)
			ids, n = append(ids, more...), n+len(more)
		}
		ids = append(ids, m.receive(t, c, 60*time.Millisecond)...)
		try(t, c.Close())
	}
	return ids
}

// receive returns the messages that come within a time and can be handled. When none
// comes within a long one, the property does not hold.
func (m *model) receive(t *rapid.T, c driver.Consumer, within time.Duration) (known []string) {
	ctx, cancel := context.WithTimeout(m.Context(), within)
	defer cancel()
	ds, err := c.Receive(ctx, 100)
	if errors.Is(err, context.DeadlineExceeded) && within < time.Second {
		return nil
	}
	try(t, err)
	for _, d := range ds {
		if d.Kind == "known" {
			known = append(known, d.ID)
		}
	}
	return known
}

// clear leaves nothing for the next run.
func (m *model) clear(t *rapid.T) {
	for _, table := range []string{"message", "attempt", "worker", "pause"} {
		m.run(t, "delete from posthorn_"+table)
	}
	if m.store.SQL.LeasesDue != "" {
		m.run(t, "delete from posthorn_lease")
	}
}
