package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/internal/isolation"
	"github.com/posthorn/posthorn/supervisor"
)

// A host is a machine with a clock of its own. Its processes have a supervisor, or
// something that starts them again and knows nothing of messages.
type host struct {
	w    *world
	name string
	skew time.Duration // of its wall clock
	boss *boss         // nil: there is no supervisor
	size int           // processes
}

// wall is the wall clock of the host.
func (h *host) wall() time.Time { return at(h.w.now + h.skew) }

// A boss is the supervisor of a host.
type boss struct {
	life
	host   *host
	places []*place
	watch  isolation.Watch
}

// A place is where one process of a supervisor lives, and after it its successor.
type place struct {
	boss     *boss
	name     string
	isolated bool
	policy   supervisor.Policy
	state    supervisor.State
	proc     *process
	steps    int

	failures int // in a row, as the judge counts them
}

// open begins a host.
func (h *host) open(supervised bool) {
	if supervised {
		h.supervise()
		return
	}
	for range h.size {
		h.keep()
	}
}

// keep starts a process again and again, as init does.
func (h *host) keep() {
	p := h.start(false, func(bool) { h.w.after(h.w.between(300*time.Millisecond, 2*time.Second), h.keep) })
	p.after(h.w.between(50*time.Millisecond, 500*time.Millisecond), p.join)
}

// supervise starts a supervisor.
func (h *host) supervise() {
	b := &boss{life: life{w: h.w}, host: h}
	h.boss = b
	h.w.note("the supervisor of %s starts", h.name)
	for n := range h.size {
		pl := b.place(fmt.Sprintf("%s/%d", h.name, n), false)
		b.places = append(b.places, pl)
		pl.step(supervisor.Input{Cue: supervisor.CueBegin})
	}
	b.every(isolation.Every, b.look)
}

// place makes one.
func (b *boss) place(name string, isolated bool) *place {
	pl := &place{boss: b, name: name, isolated: isolated, policy: supervisor.Policy{
		Handshake: true, ReadyTimeout: 5 * time.Second, StopTimeout: 8 * time.Second, Watchdog: 4 * time.Second,
		Backoff: supervisor.Backoff{Min: 500 * time.Millisecond, Max: 8 * time.Second, Healthy: 10 * time.Second},
		Loop:    supervisor.Loop{Failures: 5, Within: 5 * time.Minute},
	}}
	if isolated {
		pl.policy.Backoff, pl.policy.Loop = isolation.Backoff(), isolation.Loop()
	}
	return pl
}

// die is the end of a supervisor by SIGKILL: its processes die with it, and nobody says so
// to the store. Another one is started.
func (b *boss) die() {
	b.w.note("the supervisor of %s is killed", b.host.name)
	b.dead = true
	for _, pl := range b.places {
		if pl.proc != nil {
			pl.proc.crash("its supervisor is dead")
		}
	}
	b.w.after(b.w.between(500*time.Millisecond, 3*time.Second), b.host.supervise)
}

// recycle replaces all its processes.
func (b *boss) recycle() {
	b.w.note("the supervisor of %s recycles its processes", b.host.name)
	for _, pl := range append([]*place(nil), b.places...) {
		pl.step(supervisor.Input{Cue: supervisor.CueRecycle})
	}
}

// step asks the policy, and does what it says.
func (pl *place) step(in supervisor.Input) {
	w := pl.boss.w
	before, now := pl.state, at(w.now)
	next, d := pl.policy.Step(pl.state, in, now)
	pl.state = next
	pl.steps++
	w.judgeStep(pl, before, in)
	switch d.Act {
	case supervisor.ActSpawn:
		pl.spawn()
	case supervisor.ActStop:
		pl.proc.run(func() { pl.proc.stop("it was told to") })
	case supervisor.ActAbort, supervisor.ActKill:
		pl.proc.crash("killed by its supervisor: " + next.Reason)
	case supervisor.ActEnd:
		pl.boss.remove(pl)
	}
	this := pl.steps
	if due := pl.state.Due; !due.IsZero() {
		pl.boss.after(due.Sub(now), func() {
			if pl.steps == this {
				pl.step(supervisor.Input{Cue: supervisor.CueTick})
			}
		})
	}
}

// spawn starts a process, which may fail, or never be ready.
func (pl *place) spawn() {
	w := pl.boss.w
	if w.fault(pl.boss.w.sickness) {
		pl.boss.after(0, func() { pl.exited("", false) })
		return
	}
	var p *process
	p = pl.boss.host.start(pl.isolated, func(clean bool) {
		pl.boss.after(w.between(time.Millisecond, 50*time.Millisecond), func() { pl.bury(p, clean) })
	})
	pl.proc = p
	if w.fault(0.03) {
		return // it hangs before it is ready
	}
	p.after(w.between(50*time.Millisecond, 500*time.Millisecond), func() {
		p.join()
		pl.boss.run(func() { pl.cue(p, supervisor.CueReady) })
		p.every(pl.policy.Watchdog/3, func() { pl.boss.run(func() { pl.cue(p, supervisor.CuePing) }) })
	})
}

// cue tells what a process has said.
func (pl *place) cue(p *process, cue supervisor.Cue) {
	if pl.proc == p {
		pl.step(supervisor.Input{Cue: cue})
	}
}

// bury tells the store what a dead worker held, before its successor starts.
func (pl *place) bury(p *process, clean bool) {
	w, id := pl.boss.w, ""
	if p.joined {
		id = p.id
	}
	if !isolation.Left(id, clean) {
		pl.exited(id, clean)
		return
	}
	var unread error
	if w.chance(0.05) {
		unread = errNoRecord
	}
	d := isolation.Death(id, pl.isolated, flight.Record{Running: p.record, Complete: !w.chance(0.03)}, unread)
	w.store.call(call{
		from: &pl.boss.life, name: "release what " + id + " held", twice: true,
		apply: func() { w.judgeRelease(p, d) },
		done: func(err error) {
			if err != nil {
				w.note("messages of %s wait for their lease", id)
			}
			pl.exited(id, clean)
		},
	})
}

// errNoRecord: the flight record cannot be read.
var errNoRecord = errors.New("no flight record")

// exited tells the policy that a process has ended.
func (pl *place) exited(id string, clean bool) {
	pl.proc = nil
	pl.boss.w.note("%s: process %s has ended, clean: %t", pl.name, id, clean)
	pl.step(supervisor.Input{Cue: supervisor.CueExited, Clean: clean, Chance: pl.boss.w.rng.Float64()})
}

// remove forgets a place that has ended.
func (b *boss) remove(pl *place) {
	for i, other := range b.places {
		if other == pl {
			b.places = append(b.places[:i:i], b.places[i+1:]...)
			break
		}
	}
}

// look starts and ends the process for suspects.
func (b *boss) look() {
	n, s := 0, b.w.store
	s.call(call{
		from: &b.life, name: "count suspects",
		apply: func() { n = s.shelf.Suspects(b.w.queues...) },
		done: func(err error) {
			if err != nil {
				return
			}
			alone := b.isolated()
			any := n > 0 || alone != nil && alone.proc != nil && len(alone.proc.record) > 0
			watch, processes := b.watch.Step(any, at(b.w.now))
			b.watch = watch
			switch {
			case processes > 0 && alone == nil:
				pl := b.place(b.host.name+"/isolated", true)
				b.places = append(b.places, pl)
				pl.step(supervisor.Input{Cue: supervisor.CueBegin})
			case processes == 0 && alone != nil && !alone.state.Leaving:
				alone.step(supervisor.Input{Cue: supervisor.CueLeave})
			}
		},
	})
}

// isolated is the place for suspects, or nil.
func (b *boss) isolated() *place {
	for _, pl := range b.places {
		if pl.isolated {
			return pl
		}
	}
	return nil
}
