package supervisor

import "time"

// A Phase is where the process of a place is in its life.
type Phase string

// The phases.
const (
	PhaseIdle     Phase = "idle"     // nothing was ever started
	PhaseWaiting  Phase = "waiting"  // for its next start
	PhaseStarting Phase = "starting" // it runs, and is not ready yet
	PhaseReady    Phase = "ready"
	PhaseStopping Phase = "stopping" // it was told to end
	PhaseEnded    Phase = "ended"    // and has no successor
)

// Live reports whether a process exists in this phase.
func (p Phase) Live() bool { return p == PhaseStarting || p == PhaseReady || p == PhaseStopping }

// A Cue is what has happened to a place.
type Cue int

// The cues.
const (
	CueTick    Cue = iota // time has passed
	CueBegin              // the place is to have a process
	CueReady              // the process says that it is ready
	CuePing               // the process says that it is alive
	CueExited             // the process has ended, or could not be started
	CueRecycle            // the process shall be replaced by a fresh one
	CueLeave              // the process shall end and have no successor
)

// An Input is a cue with what is to be known about it.
type Input struct {
	Cue    Cue
	Clean  bool    // of CueExited: the exit code was 0
	Chance float64 // of CueExited: in [0, 1), spreads the restarts of many
}

// An Act is what is to be done to a process.
type Act int

// The acts.
const (
	ActNone  Act = iota
	ActSpawn     // start a process; tell its failure as CueExited
	ActStop      // send the stop signal
	ActAbort     // send SIGABRT: it hangs, and may leave a trace of where
	ActKill      // send SIGKILL to its whole group
	ActEnd       // nothing more is to come
)

// A Decision is what follows from an input.
type Decision struct {
	Act       Act
	CrashLoop bool // it has just become a crash loop
	Recovered bool // it has just ceased to be one
}

// A Backoff spaces the starts of a process that fails.
type Backoff struct {
	Min     time.Duration // after the first failure, and between any two starts; default 500ms
	Max     time.Duration // default 30s
	Healthy time.Duration // after so long in readiness, failures are forgotten; default 60s
}

// A Loop says which failures are a crash loop: so many within such a time.
type Loop struct {
	Failures int           // default 5
	Within   time.Duration // default 5m
}

// A Policy decides when a process is started, taken for ready, given up and
// replaced. Its step is pure.
type Policy struct {
	Handshake    bool          // the process will say READY=1
	ReadyTimeout time.Duration // for the handshake
	ReadyAfter   time.Duration // without handshake, a process that lives for so long is ready
	StopTimeout  time.Duration // between the stop signal and SIGKILL
	Watchdog     time.Duration // the longest silence of a ready process; 0 means no watchdog
	Backoff      Backoff
	Loop         Loop
}

// A State is all that the policy remembers of a place. The zero State has no
// phase and counts as idle.
type State struct {
	Phase    Phase
	Due      time.Time   // when a tick is wanted; zero means never
	Started  time.Time   // the last start
	ReadyAt  time.Time   // of the process that lives; zero while it is not ready
	Heard    time.Time   // the last sign of life
	Failures int         // in a row
	Recent   []time.Time // the last failures, at most Loop.Failures
	Looping  bool
	Leaving  bool // there will be no successor
	Failing  bool // the process is being stopped because it failed
	Reason   string
}

// Step returns what becomes of a place, and what is to be done now. It neither
// reads a clock nor a random source, and does not change what it was given.
func (p Policy) Step(s State, in Input, now time.Time) (State, Decision) {
	switch in.Cue {
	case CueBegin:
		if !s.Phase.Live() && !s.Leaving {
			return p.spawn(s, now)
		}
	case CueReady:
		if s.Phase == PhaseStarting {
			return p.ready(s, now), Decision{}
		}
	case CuePing:
		if s.Phase == PhaseReady {
			s.Heard = now
			return p.attend(s), Decision{}
		}
	case CueExited:
		if s.Phase.Live() {
			return p.exited(s, in, now)
		}
	case CueRecycle:
		return p.recycle(s, now)
	case CueLeave:
		return p.leave(s, now)
	case CueTick:
		if !s.Due.IsZero() && !now.Before(s.Due) {
			return p.tick(s, now)
		}
	}
	return s, Decision{}
}

func (p Policy) spawn(s State, now time.Time) (State, Decision) {
	s.Phase, s.Started, s.ReadyAt, s.Failing, s.Reason = PhaseStarting, now, time.Time{}, false, ""
	s.Due = now.Add(p.ReadyAfter)
	if p.Handshake {
		s.Due = now.Add(p.ReadyTimeout)
	}
	return s, Decision{Act: ActSpawn}
}

func (p Policy) ready(s State, now time.Time) State {
	s.Phase, s.ReadyAt, s.Heard = PhaseReady, now, now
	return p.attend(s)
}

// attend sets the time at which a ready process is looked at again: when its
// watchdog is over, or when its failures are forgotten.
func (p Policy) attend(s State) State {
	s.Due = time.Time{}
	if p.Watchdog > 0 {
		s.Due = s.Heard.Add(p.Watchdog)
	}
	if healthy := s.ReadyAt.Add(p.Backoff.Healthy); s.failing() && (s.Due.IsZero() || healthy.Before(s.Due)) {
		s.Due = healthy
	}
	return s
}

func (p Policy) tick(s State, now time.Time) (State, Decision) {
	switch s.Phase {
	case PhaseWaiting:
		return p.spawn(s, now)
	case PhaseStarting:
		if !p.Handshake {
			return p.ready(s, now), Decision{}
		}
		s.Failing = true
		return p.stop(s, now, "not ready in time"), Decision{Act: ActStop}
	case PhaseStopping:
		s.Due = now.Add(p.StopTimeout) // SIGKILL cannot fail, but what sends it can
		return s, Decision{Act: ActKill}
	case PhaseReady:
		return p.examine(s, now)
	}
	return s, Decision{}
}

// examine looks at a ready process.
func (p Policy) examine(s State, now time.Time) (State, Decision) {
	if p.Watchdog > 0 && !now.Before(s.Heard.Add(p.Watchdog)) {
		s.Failing = true
		return p.stop(s, now, "watchdog: no sign of life"), Decision{Act: ActAbort}
	}
	var d Decision
	if s.failing() && !now.Before(s.ReadyAt.Add(p.Backoff.Healthy)) {
		s, d.Recovered = s.forget()
	}
	return p.attend(s), d
}

// failing reports whether there are failures to be forgotten.
func (s State) failing() bool { return s.Failures > 0 && !backoffKept }

// forget leaves the failures behind. It reports whether that ends a crash loop.
func (s State) forget() (State, bool) {
	looping := s.Looping
	s.Failures, s.Recent, s.Looping = 0, nil, false
	return s, looping
}

func (p Policy) stop(s State, now time.Time, why string) State {
	s.Phase, s.Due, s.Reason = PhaseStopping, now.Add(p.StopTimeout), why
	return s
}

func (p Policy) recycle(s State, now time.Time) (State, Decision) {
	switch s.Phase {
	case PhaseWaiting:
		return p.spawn(s, now)
	case PhaseStarting, PhaseReady:
		return p.stop(s, now, "recycled"), Decision{Act: ActStop}
	}
	return s, Decision{}
}

func (p Policy) leave(s State, now time.Time) (State, Decision) {
	s.Leaving = true
	switch s.Phase {
	case PhaseStarting, PhaseReady:
		return p.stop(s, now, "stopped"), Decision{Act: ActStop}
	case PhaseStopping, PhaseEnded:
		return s, Decision{}
	}
	return s.end()
}

func (s State) end() (State, Decision) {
	s.Phase, s.Due = PhaseEnded, time.Time{}
	return s, Decision{Act: ActEnd}
}

// exited decides about the successor. One that ended as it was told, or by
// itself with code 0 after it had been ready, is replaced at once, if that does
// not come too fast; else it has failed.
func (p Policy) exited(s State, in Input, now time.Time) (State, Decision) {
	was, readied := s.Phase, !s.ReadyAt.IsZero()
	if s.Leaving {
		return s.end()
	}
	var d Decision
	if s.failing() && readied && now.Sub(s.ReadyAt) >= p.Backoff.Healthy {
		s, d.Recovered = s.forget()
	}
	s.ReadyAt = time.Time{}
	switch {
	case s.Failing:
	case was == PhaseStopping:
		return p.spawn(s, now)
	case in.Clean && readied:
		return p.replace(s, d, now)
	}
	s.Failures++
	if givesUp && s.Failures > 3 {
		return s.end()
	}
	s, d.CrashLoop = p.remember(s, now)
	s.Phase, s.Due = PhaseWaiting, now.Add(p.Delay(s.Failures, in.Chance))
	return s, d
}

// replace starts a successor at once, or when the last start is long enough
// ago.
func (p Policy) replace(s State, d Decision, now time.Time) (State, Decision) {
	if next := s.Started.Add(p.Backoff.Min); now.Before(next) {
		s.Phase, s.Due, s.Reason = PhaseWaiting, next, "ended with code 0"
		return s, d
	}
	s, spawn := p.spawn(s, now)
	d.Act = spawn.Act
	return s, d
}

// remember notes a failure. It reports whether a crash loop begins with it.
func (p Policy) remember(s State, now time.Time) (State, bool) {
	keep := s.Recent[max(0, len(s.Recent)-p.Loop.Failures+1):]
	s.Recent = append(append(make([]time.Time, 0, len(keep)+1), keep...), now)
	begins := !s.Looping && len(s.Recent) >= p.Loop.Failures && now.Sub(s.Recent[0]) <= p.Loop.Within
	s.Looping = s.Looping || begins
	return s, begins
}

// Delay is the wait after so many failures in a row: it doubles from Min to
// Max, and chance, in [0, 1), takes away up to half of it.
func (p Policy) Delay(failures int, chance float64) time.Duration {
	d := p.Backoff.Min
	for i := 1; i < failures && d < p.Backoff.Max; i++ {
		d *= 2
	}
	d = min(d, p.Backoff.Max)
	return d/2 + time.Duration(chance*float64(d-d/2))
}
