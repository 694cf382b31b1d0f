package supervisor_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/supervisor"
)

// sim plays a place: what the policy decides is done, and chance decides what
// the process does.
type sim struct {
	p       supervisor.Policy
	s       supervisor.State
	now     time.Time
	living  bool
	stopped bool // a signal was sent to the one that lives
	starts  []time.Time
}

func (m *sim) step(t *rapid.T, in supervisor.Input) supervisor.Decision {
	before := m.s
	var d supervisor.Decision
	m.s, d = m.p.Step(m.s, in, m.now)
	if in.Cue == supervisor.CueExited {
		m.living, m.stopped = false, false
	}
	switch d.Act {
	case supervisor.ActSpawn:
		if m.living {
			t.Fatalf("started beside a living process: %+v, then %+v", before, m.s)
		}
		if before.Leaving {
			t.Fatal("started although it was to leave")
		}
		m.living = true
		m.starts = append(m.starts, m.now)
	case supervisor.ActStop, supervisor.ActAbort, supervisor.ActKill:
		if !m.living {
			t.Fatalf("signal to nobody: %+v", before)
		}
		m.stopped = true
	case supervisor.ActEnd:
		if m.living || !m.s.Leaving {
			t.Fatalf("ended with a process, or unasked: %+v", m.s)
		}
	}
	if m.living != m.s.Phase.Live() {
		t.Fatalf("phase %s, living %v", m.s.Phase, m.living)
	}
	return d
}

func drawPolicy(t *rapid.T) supervisor.Policy {
	ms := func(name string, from, to int) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Millisecond
	}
	least := ms("min", 1, 1000)
	most := least * time.Duration(rapid.IntRange(1, 100).Draw(t, "max"))
	return supervisor.Policy{
		Handshake: rapid.Bool().Draw(t, "handshake"), ReadyTimeout: ms("ready timeout", 1, 5000),
		ReadyAfter: ms("ready after", 1, 2000), StopTimeout: ms("stop timeout", 1, 5000),
		Watchdog: ms("watchdog", 0, 5000) / 1000 * 1000,
		Backoff:  supervisor.Backoff{Min: least, Max: most, Healthy: ms("healthy", 1, 60000)},
		Loop:     supervisor.Loop{Failures: rapid.IntRange(1, 6).Draw(t, "loop"), Within: ms("within", 1, 600000)},
	}
}

func TestAPlaceAlwaysHasAProcessOrATimeForTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &sim{p: drawPolicy(t), now: time.Unix(1e9, 0)}
		m.step(t, supervisor.Input{Cue: supervisor.CueBegin})
		left := false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			m.now = m.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pass")) * time.Millisecond)
			cue := supervisor.Cue(rapid.IntRange(int(supervisor.CueTick), int(supervisor.CueLeave)).Draw(t, "cue"))
			if cue == supervisor.CueExited && !m.living {
				continue
			}
			left = left || cue == supervisor.CueLeave
			m.step(t, supervisor.Input{
				Cue: cue, Clean: rapid.Bool().Draw(t, "clean"), Chance: rapid.Float64Range(0, 0.999).Draw(t, "chance"),
			})
			if m.s.Phase == supervisor.PhaseEnded && left {
				return
			}
			m.check(t)
		}
	})
}

// check wants a place to have a future within bounds.
func (m *sim) check(t *rapid.T) {
	s := m.s
	pending := s.Phase != supervisor.PhaseReady && s.Phase != supervisor.PhaseEnded
	switch {
	case s.Phase == supervisor.PhaseEnded:
		t.Fatal("gave up")
	case pending && s.Due.IsZero():
		t.Fatalf("%s, and nothing will ever change it: %+v", s.Phase, s)
	case s.Phase == supervisor.PhaseWaiting && s.Due.Sub(m.now) > m.p.Backoff.Max:
		t.Fatalf("waits for %s, more than %s", s.Due.Sub(m.now), m.p.Backoff.Max)
	case len(s.Recent) > m.p.Loop.Failures:
		t.Fatalf("remembers %d failures", len(s.Recent))
	}
}

func TestAStoppingProcessIsKilledInTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &sim{p: drawPolicy(t), now: time.Unix(1e9, 0)}
		m.step(t, supervisor.Input{Cue: supervisor.CueBegin})
		m.step(t, supervisor.Input{Cue: supervisor.CueLeave})
		for range 3 {
			m.now = m.s.Due
			if d := m.step(t, supervisor.Input{Cue: supervisor.CueTick}); d.Act != supervisor.ActKill {
				t.Fatalf("act %v at the deadline", d.Act)
			}
		}
		if d := m.step(t, supervisor.Input{Cue: supervisor.CueExited}); d.Act != supervisor.ActEnd {
			t.Fatalf("act %v after the end", d.Act)
		}
	})
}

func TestDelaysDoubleToAMaximumAndChanceTakesAtMostHalf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		n := rapid.IntRange(1, 1_000_000).Draw(t, "failures")
		chance := rapid.Float64Range(0, 0.999).Draw(t, "chance")
		full := p.Backoff.Max
		if n < 20 {
			full = min(full, p.Backoff.Min<<(n-1))
		}
		if d := p.Delay(n, chance); d < full/2 || d > full {
			t.Fatalf("delay %s is not within half of %s", d, full)
		}
	})
}

// life is one life of a process in the table below.
type life struct {
	ready, lived time.Duration // ready 0: never
	clean        bool
	failures     int // wanted afterwards
	wait         time.Duration
	loop         bool
	recovered    bool
}

func TestWhatBecomesOfAProcessThatEnds(t *testing.T) {
	p := supervisor.Policy{
		Handshake: true, ReadyTimeout: time.Hour, StopTimeout: time.Second,
		Backoff: supervisor.Backoff{Min: time.Second, Max: 8 * time.Second, Healthy: time.Minute},
		Loop:    supervisor.Loop{Failures: 3, Within: time.Hour},
	}
	now := time.Unix(1e9, 0)
	s, _ := p.Step(supervisor.State{}, supervisor.Input{Cue: supervisor.CueBegin}, now)
	for i, l := range []life{
		{ready: 1, lived: 10 * time.Second, clean: true},                                     // recycled: at once
		{ready: 1, lived: 300 * time.Millisecond, clean: true, wait: 700 * time.Millisecond}, // too fast: spaced, not counted
		{lived: 300 * time.Millisecond, clean: true, failures: 1, wait: time.Second},         // code 0 before it was ready
		{ready: 1, lived: 10 * time.Second, failures: 2, wait: 2 * time.Second},
		{lived: 1, failures: 3, wait: 4 * time.Second, loop: true},
		{lived: 1, failures: 4, wait: 8 * time.Second},
		{lived: 1, failures: 5, wait: 8 * time.Second},
		{ready: 1, lived: 61 * time.Second, failures: 1, wait: time.Second, recovered: true},
	} {
		born := now
		if l.ready > 0 {
			s, _ = p.Step(s, supervisor.Input{Cue: supervisor.CueReady}, born.Add(l.ready))
		}
		now = born.Add(l.lived)
		var d supervisor.Decision
		s, d = p.Step(s, supervisor.Input{Cue: supervisor.CueExited, Clean: l.clean, Chance: 1}, now)
		wait := time.Duration(0)
		if d.Act != supervisor.ActSpawn {
			wait = s.Due.Sub(now)
		}
		if s.Failures != l.failures || wait != l.wait || d.CrashLoop != l.loop || d.Recovered != l.recovered {
			t.Fatalf("life %d: wait %s, decision %+v, state %+v; want %+v", i, wait, d, s, l)
		}
		if now = now.Add(wait); wait > 0 {
			if s, d = p.Step(s, supervisor.Input{Cue: supervisor.CueTick}, now); d.Act != supervisor.ActSpawn {
				t.Fatalf("life %d has no successor: %+v", i, s)
			}
		}
	}
}

func TestAHealthyTimeEndsACrashLoopWithoutAnExit(t *testing.T) {
	p := supervisor.Policy{
		ReadyAfter: time.Second, Backoff: supervisor.Backoff{Min: 1, Max: 1, Healthy: time.Minute},
		Loop: supervisor.Loop{Failures: 1, Within: time.Hour},
	}
	now := time.Unix(1e9, 0)
	s, _ := p.Step(supervisor.State{}, supervisor.Input{Cue: supervisor.CueBegin}, now)
	s, d := p.Step(s, supervisor.Input{Cue: supervisor.CueExited}, now)
	if !d.CrashLoop || !s.Looping {
		t.Fatalf("no crash loop: %+v", s)
	}
	for range 3 { // start, readiness, health
		s, d = p.Step(s, supervisor.Input{Cue: supervisor.CueTick}, s.Due)
	}
	if !d.Recovered || s.Looping || s.Failures != 0 || !s.Due.IsZero() {
		t.Errorf("decision %+v, state %+v", d, s)
	}
}
