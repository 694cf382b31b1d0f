package drivertest

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
)

// checkDeaths compares the transport with a model of it while workers die, over
// random histories: nobody pays who had not begun, nothing is lost, and a call that
// comes twice or late is harmless.
func checkDeaths(r *rig) {
	var histories atomic.Int64
	rapid.Check(r.T, func(t *rapid.T) {
		m := &morgue{rig: r, t: t, prefix: fmt.Sprintf("d%d", histories.Add(1)), live: map[string]*mortal{}}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			m.step()
		}
		m.drain()
	})
}

// A mortal is what the model knows of a live message.
type mortal struct {
	crashes int
	suspect bool
	holder  string // the worker that holds it; empty: it waits
	held    driver.Delivery
}

// A grave is a worker that has died, and the claims whose handlers had begun.
type grave struct {
	worker string
	begun  []driver.Token
}

// A morgue is one history.
type morgue struct {
	*rig
	t       *rapid.T
	prefix  string
	workers int
	sent    int
	buried  int
	live    map[string]*mortal
	graves  []grave
}

// step does one thing.
func (m *morgue) step() {
	acts := []func(){m.sendSome, m.workAndDie, m.workAndDie, m.isolate, m.isolate, m.hold, m.dieAgain}
	acts[rapid.IntRange(0, len(acts)-1).Draw(m.t, "act")]()
}

func (m *morgue) queue() string { return m.prefix + "-q" }

func (m *morgue) sendSome() {
	for range rapid.IntRange(1, 4).Draw(m.t, "batch") {
		e := env(fmt.Sprintf("%s-m%d", m.prefix, m.sent))
		e.Queue = m.queue()
		m.sent++
		m.send(e)
		m.live[e.ID] = &mortal{}
	}
}

// waiting counts the messages that wait, as suspects or not.
func (m *morgue) waiting(suspect bool) (n int) {
	for _, k := range m.live {
		if k.holder == "" && k.suspect == suspect {
			n++
		}
	}
	return n
}

// claims receives what waits, as a new worker.
func (m *morgue) claims(suspect bool, limit int) (worker string, c driver.Consumer, ds []driver.Delivery) {
	m.workers++
	worker = fmt.Sprintf("%s-w%d", m.prefix, m.workers)
	c = m.asFor(worker, suspect, lasting, m.queue())
	for len(ds) < min(limit, m.waiting(suspect)+len(ds)) {
		for _, d := range m.receive(c, 1) {
			k := m.live[d.ID]
			if k == nil || k.holder != "" || k.suspect != suspect || d.Crashes != k.crashes || d.Attempt != 0 {
				m.t.Fatalf("received %s with %d crashes, attempt %d; the model knows %+v", d.ID, d.Crashes, d.Attempt, k)
			}
			k.holder, k.held = worker, d
			ds = append(ds, d)
		}
	}
	return worker, c, ds
}

// hold claims some for a worker that lives on.
func (m *morgue) hold() {
	m.claims(false, rapid.IntRange(1, 3).Draw(m.t, "hold"))
}

// workAndDie claims some, begins some of those, and dies.
func (m *morgue) workAndDie() {
	worker, _, ds := m.claims(false, rapid.IntRange(1, 5).Draw(m.t, "hand"))
	m.bury(worker, ds)
}

// isolate runs one suspect alone, which returns or kills.
func (m *morgue) isolate() {
	worker, c, ds := m.claims(true, 1)
	if len(ds) == 0 {
		return
	}
	if rapid.Bool().Draw(m.t, "kills") {
		m.bury(worker, ds)
		return
	}
	word := &driver.Attempt{Number: 1, Worker: worker, Class: driver.ClassFailure}
	m.settle(c, driver.Settlement{Delivery: ds[0], Verdict: driver.Release, Attempt: word})
	*m.live[ds[0].ID] = mortal{}
}

// bury lets a worker die, with some of what it holds begun, and compares the toll.
func (m *morgue) bury(worker string, ds []driver.Delivery) {
	g := grave{worker, []driver.Token{}}
	unknown := rapid.IntRange(0, 9).Draw(m.t, "unknown") == 0
	var begun []string
	for _, d := range ds {
		if unknown || rapid.Bool().Draw(m.t, "begun") {
			g.begun, begun = append(g.begun, d.Token), append(begun, d.ID)
		}
	}
	death := driver.Death{Worker: worker, Begun: g.begun}
	if unknown {
		death.Begun = nil
	}
	m.graves = append(m.graves, g)
	want := m.expect(ds, begun, unknown)
	if got := m.release(death); got != want {
		m.t.Fatalf("toll of %s is %+v, want %+v", worker, got, want)
	}
}

// expect does in the model what a death does.
func (m *morgue) expect(ds []driver.Delivery, begun []string, unknown bool) (toll driver.Toll) {
	for _, d := range ds {
		k := m.live[d.ID]
		k.holder = ""
		if slices.Contains(begun, d.ID) {
			k.crashes++
			k.suspect = k.suspect || !unknown
			if len(begun) == 1 && !unknown && k.crashes >= driver.SuspectDeaths {
				delete(m.live, d.ID)
				m.buried++
				toll.Buried++
				continue
			}
		}
		if k.suspect {
			toll.Suspected++
		} else {
			toll.Released++
		}
	}
	return toll
}

// dieAgain calls once more for one that has died before.
func (m *morgue) dieAgain() {
	if len(m.graves) == 0 {
		return
	}
	g := m.graves[rapid.IntRange(0, len(m.graves)-1).Draw(m.t, "grave")]
	death := driver.Death{Worker: g.worker, Begun: g.begun}
	if rapid.Bool().Draw(m.t, "forgotten") {
		death.Begun = nil
	}
	if toll := m.release(death); toll != (driver.Toll{}) {
		m.t.Fatalf("the second release of %s has the toll %+v", g.worker, toll)
	}
}

// drain makes sure that what the model holds is held, and takes everything else:
// what was accepted is done or buried.
func (m *morgue) drain() {
	done := 0
	c := m.asFor(m.prefix+"-drain", false, lasting, m.queue())
	for _, id := range slices.Sorted(maps.Keys(m.live)) {
		if k := m.live[id]; k.holder != "" {
			m.ack(c, k.held)
			delete(m.live, id)
			done++
		}
	}
	for _, suspect := range []bool{false, true} {
		_, c, ds := m.claims(suspect, len(m.live))
		m.ack(c, ds...)
		done += len(ds)
	}
	if done+m.buried != m.sent {
		m.t.Fatalf("%d done and %d buried of %d sent", done, m.buried, m.sent)
	}
	last := env(m.prefix + "-last") // what else there was would come first
	last.Queue = m.queue()
	m.ack(c, m.claim(c, last))
}
