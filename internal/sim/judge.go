package sim

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/shelf"
	"github.com/posthorn/posthorn/supervisor"
)

// judgeSent compares what the producer was told with what is true.
func (w *world) judgeSent(m *message) {
	w.note("producer: %s is %s", m.id, m.sent)
	if m.sent == "ok" && !m.kept {
		w.fail("S1", "the producer was told that %s is accepted, and it is not", m.id)
	}
	if m.sent == "failed" && m.kept {
		w.fail("S4", "the producer was told that %s failed, and it is accepted", m.id)
	}
}

// judgeStart looks at a handler that begins.
func (w *world) judgeStart(p *process, c *parcel) {
	w.counts.Starts++
	row, live := w.store.shelf.Row(c.d.Token)
	held := live && row.Token == c.d.Token
	if live && row.Deliveries < c.m.starts {
		w.fail("S7", "%s begins for the %d. time, but %d deliveries are counted", c.m.id, c.m.starts, row.Deliveries)
	}
	if held && row.Suspect {
		w.counts.Suspects++
		if !p.isolated {
			w.fail("suspects alone", "the suspect %s begins in the ordinary process %s", c.m.id, p.id)
		}
	}
	for _, other := range p.hand {
		if c.d.Crashes >= 2 && other != c && (other.running || p.isolated) {
			w.fail("suspects alone", "%s has %d crashes, and begins beside %s", c.m.id, c.d.Crashes, other.m.id)
		}
		if other.running && other != c && other.d.Crashes >= 2 {
			w.fail("suspects alone", "%s begins beside %s, which has %d crashes", c.m.id, other.m.id, other.d.Crashes)
		}
	}
}

// judgeKill looks at a message that kills its process: there is an end of it.
func (w *world) judgeKill(m *message) {
	w.counts.Deaths++
	if m.killed > maxCrashes*m.lives {
		w.fail("quarantine", "%s has killed %d processes", m.id, m.killed)
	}
}

// judgeDone looks at a message that is done.
func (w *world) judgeDone(m *message) {
	if m.done || m.dead {
		w.fail("S1", "%s is done, and was done: %t, dead: %t", m.id, m.done, m.dead)
	}
	m.done = true
}

// innocentStrikes is how many of its crashes must have had another reason than a message,
// before a message is buried that has killed nobody: neighbours that kill charge it twice
// at most, then it has none. Where no supervisor knows better, one may die while the message
// is on its way back, or before it has heard of its claim.
const innocentStrikes = 2

// judgeDead looks at a dead letter.
func (w *world) judgeDead(m *message, reason string) {
	if m.done || m.dead {
		w.fail("S1", "%s is dead, and was done: %t, dead: %t", m.id, m.done, m.dead)
	}
	m.dead, m.reason = true, reason
	if reason == driver.ReasonCrashed && m.killed == 0 && m.struck < innocentStrikes {
		w.fail("innocents", "%s is buried for the deaths of others: %d crashes had another reason", m.id, m.struck)
	}
	if w.store.effects[m.id] > 0 {
		w.fail("S1", "%s is dead, and has a committed effect", m.id)
	}
	if most := policy().MaxRetries; reason == driver.ReasonExhausted && m.counted <= most {
		w.fail("innocents", "%s is dead after %d failures, but has %d retries", m.id, m.counted, most)
	}
	if reason == driver.ReasonRejected && posthorn.ClassOf(m.why) != driver.ClassReject {
		w.fail("innocents", "%s is dead as rejected, and was not", m.id)
	}
}

// judgeCounted looks at a message of which one more attempt has failed.
func (w *world) judgeCounted(m *message, attempts int) {
	if attempts > m.counted {
		w.fail("innocents", "%s has %d failed attempts, but its handler has failed %d times", m.id, attempts, m.counted)
	}
}

// judgeRescue rescues, and looks at what a rescue does: only claims whose lease is over end.
func (w *world) judgeRescue(until time.Time, expired []driver.Token) {
	for _, token := range expired {
		row, live := w.store.shelf.Row(token)
		if w.store.shelf.Rescue(until, token) == 0 {
			continue
		}
		w.note("%s is rescued from %s", row.ID, row.Worker)
		if p := w.byID[row.Worker]; p.killer == nil || !p.exposed(token) {
			w.messages[row.ID].struck++
		}
		if !live || row.Wake.After(until) {
			w.fail("S2", "%s was rescued from %s, whose lease lasts until %s", row.ID, row.Worker, row.Wake.Sub(at(0)))
		}
	}
}

// exposed reports whether what the process holds by this claim was beside what it ran: a
// claim that was answered, and that it has not decided about.
func (p *process) exposed(token driver.Token) bool {
	return slices.ContainsFunc(p.hand, func(c *parcel) bool { return c.d.Token == token && !c.verdict })
}

// judgeRelease releases what a dead worker held, and looks at who pays.
func (w *world) judgeRelease(p *process, d driver.Death) {
	s := w.store
	before := s.shelf.Rows()
	toll := s.shelf.ReleaseDead(s.now(), d)
	w.note("released what %s held: %d ready, %d suspects, %d buried", d.Worker, toll.Released, toll.Suspected, toll.Buried)
	after := map[string]shelf.Row{}
	for _, row := range s.shelf.Rows() {
		after[row.ID] = row
	}
	for _, was := range before {
		is, live := after[was.ID]
		if was.Worker != p.id {
			if is != was {
				w.fail("S2", "%s is %s's, and was touched when %s was released", was.ID, was.Worker, p.id)
			}
			continue
		}
		begun := d.Begun == nil || slices.Contains(d.Begun, was.Token)
		if !begun && (!live || is.Crashes != was.Crashes || is.Suspect != was.Suspect) {
			w.fail("innocents", "%s had not begun in %s, and is charged for its death", was.ID, p.id)
		}
		if p.killer == nil && (!live || is.Crashes > was.Crashes) {
			w.messages[was.ID].struck++
		}
		if !live {
			w.judgeDead(w.messages[was.ID], driver.ReasonCrashed)
			if was.Crashes+1 < driver.SuspectDeaths {
				w.fail("innocents", "%s is buried after %d crashes", was.ID, was.Crashes+1)
			}
		}
	}
	s.wake()
}

// judgeStep looks at what the restart policy has decided.
func (w *world) judgeStep(pl *place, before supervisor.State, in supervisor.Input) {
	now, b, is := at(w.now), pl.policy.Backoff, pl.state
	healthy := !before.ReadyAt.IsZero() && now.Sub(before.ReadyAt) >= b.Healthy
	if healthy {
		pl.failures = 0
	}
	if is.Phase == supervisor.PhaseEnded && !is.Leaving {
		w.fail("supervision", "the policy gives up %s after %d failures", pl.name, is.Failures)
	}
	if in.Cue == supervisor.CueExited && is.Phase == supervisor.PhaseWaiting {
		w.counts.Restarts++
		most := b.Min
		if before.ReadyAt.IsZero() || !in.Clean || before.Failing {
			pl.failures++
			most = min(b.Min<<min(pl.failures-1, 20), b.Max)
		}
		if wait := is.Due.Sub(now); wait > most {
			w.fail("supervision", "%s waits for %s after %d failures in a row, at most %s", pl.name, wait, pl.failures, most)
		}
	}
	if !is.Phase.Live() && !is.Leaving && is.Due.IsZero() {
		w.fail("supervision", "%s has no process, and none to come", pl.name)
	}
}

// judgeProgress looks whether work goes on after faults have healed (S12). It says no when
// there is nothing more to see.
func (w *world) judgeProgress() bool {
	bound := max(w.lease, 8*time.Second) + 5*time.Second
	since := w.now - w.faulty
	if since < bound {
		return true
	}
	rows := w.store.shelf.Rows()
	for _, row := range rows {
		waits, idle := w.store.now().Sub(row.Wake), w.idle(bound)
		if (row.Place == shelf.Ready || row.Place == shelf.Leased) && waits > bound && idle != nil {
			w.fail("S12", "%s could be claimed or rescued for %s, and %s is idle", row.ID, waits, idle.id)
		}
	}
	for _, h := range w.hosts {
		w.judgeFleet(h, bound)
	}
	w.over = len(rows) == 0 && w.produced() && (w.bench == nil || w.bench.over())
	return !w.over
}

// produced reports whether the producer has sent all, and has heard of each.
func (w *world) produced() bool { return w.left == 0 && w.order[len(w.order)-1].sent != "" }

// judgeFleet looks for the processes that a host ought to have.
func (w *world) judgeFleet(h *host, bound time.Duration) {
	if h.boss == nil {
		return
	}
	for _, pl := range h.boss.places {
		if !pl.state.Phase.Live() && !pl.state.Leaving && pl.state.Due.Before(at(w.now-bound)) {
			w.fail("S12", "%s has had no process for %s", pl.name, bound)
		}
	}
}

// idle is a process that has had nothing in hand for so long.
func (w *world) idle(d time.Duration) *process {
	for _, p := range w.fleet {
		if !p.dead && p.joined && !p.stopping && !p.isolated && len(p.hand) == 0 && w.now-p.idleSince > d {
			return p
		}
	}
	return nil
}

// judgeEnd looks at what has become of everything.
func (w *world) judgeEnd() {
	if w.bench != nil {
		w.bench.judgeEnd()
	}
	for _, row := range w.store.shelf.Rows() {
		w.fail("S12", "%s is still live %s after the last fault, place %d, attempt %d, crashes %d",
			row.ID, drained, row.Place, row.Attempt, row.Crashes)
	}
	for _, m := range w.order {
		effects := w.store.effects[m.id]
		w.counts.Effects += effects
		switch {
		case m.kept != (m.done || m.dead):
			w.fail("S1", "%s, accepted: %t, is done: %t, dead: %t", m.id, m.kept, m.done, m.dead)
		case m.transactional && m.done && effects != 1:
			w.fail("S1", "%s is done with %d committed effects", m.id, effects)
		case m.sent == "" && !w.producer.dead:
			w.fail("S12", "the producer has heard nothing about %s", m.id)
		}
	}
}
