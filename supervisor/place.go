package supervisor

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// A place is where one process of a program lives, and after it its successor.
// One goroutine runs it; others read it and leave orders.
type place struct {
	s      *Supervisor
	crew   *crew
	number int
	orders chan struct{} // there is an order
	box    *mailbox      // of the process; used by run alone

	mu       sync.Mutex
	program  *Program // of the next process
	version  int      // of the program
	policy   Policy   // of the process that lives
	state    State
	since    time.Time // of the phase
	recycle  bool      // an order
	leaving  bool      // an order
	proc     *process  // nil while there is none
	starts   int
	lastExit *Exit
}

// run lives until the place is told to leave and its process has ended.
func (pl *place) run() {
	in := Input{Cue: CueBegin}
	for {
		d := pl.step(in)
		pl.announce(d)
		if d.Act == ActEnd {
			return
		}
		var failed bool
		if in, failed = pl.carryOut(d.Act); !failed {
			in = pl.next()
		}
	}
}

// step asks the policy.
func (pl *place) step(in Input) Decision {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if !pl.state.Phase.Live() {
		pl.policy = pl.program.policy()
	}
	now, before := time.Now(), pl.state.Phase
	var d Decision
	pl.state, d = pl.policy.Step(pl.state, in, now)
	if d.Act == ActSpawn {
		pl.recycle = false // the successor is of the newest version
		pl.starts++
	}
	if pl.state.Phase != before || d.Act == ActSpawn {
		pl.since = now
	}
	return d
}

// announce tells what has changed.
func (pl *place) announce(d Decision) {
	poke(pl.crew.poked)
	poke(pl.s.changed)
	if d.CrashLoop {
		pl.log().Error("crash loop: the process fails again and again; it is still restarted", "reason", pl.view().Reason)
		pl.s.teller.tell(pl.event(KindCrashLoop))
	}
	if d.Recovered {
		pl.log().Info("crash loop has ended")
		pl.s.teller.tell(pl.event(KindRecovered))
	}
}

func (pl *place) log() *slog.Logger {
	return pl.s.o.Log.With("program", pl.crew.name, "place", pl.number)
}

// event fills in what is known now.
func (pl *place) event(kind Kind) Event {
	st := pl.view()
	return Event{
		Kind: kind, At: time.Now(), Program: st.Program, Place: st.Place, PID: st.PID, Fields: st.Fields, Reason: st.Reason,
	}
}

// carryOut does what was decided. A process that cannot be started is the next
// input at once.
func (pl *place) carryOut(act Act) (Input, bool) {
	switch act {
	case ActSpawn:
		return pl.spawn()
	case ActStop, ActAbort, ActKill:
		pl.signal(act)
	}
	return Input{}, false
}

func (pl *place) spawn() (Input, bool) {
	pl.mu.Lock()
	program := pl.program
	pl.policy = program.policy()
	pl.mu.Unlock()
	proc, err := pl.s.spawn(program, pl.number)
	if err != nil {
		pl.log().Error("process could not be started", "error", err)
		now := time.Now()
		return pl.bury(Exit{Code: -1, Err: err, Started: now, Ended: now}), true
	}
	pl.mu.Lock()
	pl.proc, pl.box = proc, proc.box
	pl.mu.Unlock()
	pl.log().Debug("process started", "pid", proc.group)
	pl.s.teller.tell(pl.event(KindStarted))
	return Input{}, false
}

func (pl *place) signal(act Act) {
	pl.mu.Lock()
	proc, why := pl.proc, pl.state.Reason
	pl.mu.Unlock()
	if proc == nil {
		return
	}
	switch act {
	case ActKill:
		pl.log().Warn("process did not end in time: it is killed", "pid", proc.group, "reason", why)
	case ActAbort:
		pl.log().Error("process hangs: it is aborted", "pid", proc.group, "reason", why)
	}
	if err := proc.signal(act); err != nil {
		pl.log().Error("process cannot be signalled", "pid", proc.group, "error", err)
	}
}

// next waits for the next thing that happens.
func (pl *place) next() Input {
	for {
		if in, ok := pl.ordered(); ok {
			return in
		}
		var ended, said chan struct{}
		if pl.proc != nil { // written by this goroutine alone
			ended, said = pl.proc.ended, pl.box.news
		}
		due, stop := pl.due()
		select {
		case <-pl.orders:
		case <-ended:
			stop()
			return pl.farewell()
		case <-said:
			if in, ok := pl.heard(); ok {
				stop()
				return in
			}
		case <-due:
			stop()
			return Input{Cue: CueTick}
		}
		stop()
	}
}

// due is a channel for the next tick, or nil.
func (pl *place) due() (<-chan time.Time, func()) {
	if pl.state.Due.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(pl.state.Due))
	return t.C, func() { t.Stop() }
}

// ordered returns an order as an input, once.
func (pl *place) ordered() (Input, bool) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	switch {
	case pl.leaving && !pl.state.Leaving:
		return Input{Cue: CueLeave}, true
	case pl.recycle:
		pl.recycle = false
		return Input{Cue: CueRecycle}, true
	}
	return Input{}, false
}

// heard turns what the process has said into an input.
func (pl *place) heard() (Input, bool) {
	n := pl.box.look()
	if n.bad != nil {
		pl.log().Warn("process sends notifications that cannot be read", "error", n.bad)
	}
	if n.told {
		pl.s.teller.tell(pl.event(KindFields))
	}
	switch {
	case n.ready && pl.state.Phase == PhaseStarting:
		return Input{Cue: CueReady}, true
	case n.pinged:
		return Input{Cue: CuePing}, true
	}
	return Input{}, false
}

// farewell takes what a process said last, and how it ended.
func (pl *place) farewell() Input {
	if in, ok := pl.heard(); ok && in.Cue == CueReady {
		pl.step(in)
	}
	pl.proc.wg.Wait()
	return pl.bury(pl.proc.exit)
}

// bury tells the observer of an end before there is a successor.
func (pl *place) bury(exit Exit) Input {
	e := pl.event(KindExited)
	e.Exit, e.At = &exit, exit.Ended
	switch {
	case exit.Planned || exit.Clean():
		pl.log().Info("process ended", "pid", e.PID, "code", exit.Code, "reason", e.Reason)
	case exit.Err == nil:
		pl.log().Error("process died", "pid", e.PID, "code", exit.Code, "signal", int(exit.Signal), "out_of_memory", exit.OOM,
			"max_rss", exit.MaxRSS)
	}
	pl.s.teller.await(e)
	pl.mu.Lock()
	pl.proc, pl.box, pl.lastExit = nil, nil, &exit
	pl.mu.Unlock()
	return Input{Cue: CueExited, Clean: exit.Clean(), Chance: rand.Float64()}
}

// renew orders a fresh process of a version of the program.
func (pl *place) renew(p *Program, version int) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.program, pl.version, pl.recycle = p, version, true
	poke(pl.orders)
}

// leave orders the end of the place.
func (pl *place) leave() {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.leaving = true
	poke(pl.orders)
}

// again sends the stop signal once more to a process that was told to end.
func (pl *place) again() {
	pl.mu.Lock()
	proc := pl.proc
	pl.mu.Unlock()
	if proc == nil {
		return
	}
	if err := proc.signal(ActStop); err != nil {
		pl.log().Error("process cannot be signalled", "pid", proc.group, "error", err)
	}
}

// stands is what the crew needs to know.
func (pl *place) stands(version int) stand {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return stand{
		current: pl.version == version, leaving: pl.leaving, ended: pl.state.Phase == PhaseEnded,
		ready: pl.state.Phase == PhaseReady && !pl.recycle,
	}
}

// view is what others are told of the place.
func (pl *place) view() ProcessStatus {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	st := ProcessStatus{
		Program: pl.crew.name, Place: pl.number, Phase: pl.state.Phase, Since: pl.since, Started: pl.state.Started,
		Restarts: max(0, pl.starts-1), Failures: pl.state.Failures, Looping: pl.state.Looping, LastExit: pl.lastExit,
		Reason: pl.state.Reason,
	}
	if pl.proc != nil {
		st.PID = pl.proc.group
		st.Status, st.Fields = pl.proc.box.said()
		if curve := pl.proc.memory(); len(curve) > 0 {
			st.RSS = curve[len(curve)-1].RSS
		}
	}
	return st
}

// sample notes the memory of the process.
func (pl *place) sample(now time.Time) {
	pl.mu.Lock()
	proc := pl.proc
	pl.mu.Unlock()
	if proc != nil {
		proc.sample(now)
	}
}
