package supervisor_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/supervisor"
)

// TestARollKeepsItsFloorAndComesToAnEnd plays rolling restarts: what is
// replaced becomes ready again when chance wants it.
func TestARollKeepsItsFloorAndComesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.IntRange(0, 6).Draw(t, "want")
		p := supervisor.Program{
			Processes: want, MinReady: rapid.IntRange(0, want).Draw(t, "min ready"), Surge: rapid.Bool().Draw(t, "surge"),
		}
		floor := max(0, want-1)
		if p.MinReady > 0 {
			floor = p.MinReady
		} else if p.Surge {
			floor = want
		}
		d := supervisor.NewDemand(p, want, true)
		var places []supervisor.Stand
		for range rapid.IntRange(0, 8).Draw(t, "places") {
			places = append(places, supervisor.NewStand(false, rapid.Bool().Draw(t, "ready")))
		}
		for range 200 {
			before := readyOf(places)
			places = carryOut(d, places)
			if after := readyOf(places); after < before && after < floor {
				t.Fatalf("%d ready, then %d: below the floor %d of %d", before, after, floor, want)
			}
			if len(places) > max(want+1, 8) {
				t.Fatalf("%d places for %d processes", len(places), want)
			}
			for i, s := range places {
				becomes := rapid.Bool().Draw(t, "becomes ready")
				places[i] = supervisor.NewStand(s.Current(), s.Ready() || becomes)
			}
		}
		if start, renew, leave := d.Next(allReady(places)); start+len(renew)+len(leave) > 0 || len(places) != want {
			t.Fatalf("no end: %d places for %d, start %d, renew %v, leave %v", len(places), want, start, renew, leave)
		}
	})
}

// carryOut does what is planned.
func carryOut(d supervisor.Demand, places []supervisor.Stand) []supervisor.Stand {
	start, renew, leave := d.Next(places)
	for _, i := range renew {
		places[i] = supervisor.NewStand(true, false)
	}
	for range start {
		places = append(places, supervisor.NewStand(true, false))
	}
	slices.Sort(leave)
	for _, i := range slices.Backward(leave) {
		places = slices.Delete(places, i, i+1)
	}
	return places
}

func allReady(places []supervisor.Stand) []supervisor.Stand {
	for i, s := range places {
		places[i] = supervisor.NewStand(s.Current(), true)
	}
	return places
}

func readyOf(places []supervisor.Stand) int {
	n := 0
	for _, s := range places {
		if s.Ready() {
			n++
		}
	}
	return n
}

// fewest watches how many processes are ready until nothing is left to be done.
func (r *rig) fewest(done func() bool) int {
	r.t.Helper()
	least := r.ready()
	until(r.t, "the end of the restart", func() bool {
		least = min(least, r.ready())
		return done()
	})
	return least
}

// replaced reports whether none of the old processes is left and n are ready.
func (r *rig) replaced(old []int, n int) func() bool {
	return func() bool {
		for _, st := range r.Status() {
			if slices.Contains(old, st.PID) {
				return false
			}
		}
		return r.ready() == n && len(r.Status()) == n
	}
}

func (r *rig) pids() []int {
	var all []int
	for _, st := range r.Status() {
		all = append(all, st.PID)
	}
	return all
}

func TestARollingRestartReplacesAllAndKeepsEnoughReady(t *testing.T) {
	for name, c := range map[string]struct {
		surge bool
		least int
	}{"in place": {false, 2}, "with a successor first": {true, 3}} {
		t.Run(name, func(t *testing.T) {
			p := handshaking("p", "sleep:50ms ready wait")
			p.Processes, p.Surge = 3, c.surge
			r := start(t, supervisor.Options{}, p)
			r.awaitReady(3)
			if err := r.Restart("p", true); err != nil {
				t.Fatal(err)
			}
			if least := r.fewest(r.replaced(r.pids(), 3)); least < c.least {
				t.Errorf("only %d were ready", least)
			}
		})
	}
}

func TestARestartOfAllAtOnce(t *testing.T) {
	p := handshaking("p", "ready wait")
	p.Processes = 3
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(3)
	old := r.pids()
	if err := r.Restart("p", false); err != nil {
		t.Fatal(err)
	}
	until(t, "successors", r.replaced(old, 3))
	if err := r.Restart("q", false); !errors.Is(err, supervisor.ErrUnknownProgram) {
		t.Errorf("restart of nothing: %v", err)
	}
}

func TestScaleStartsAndStops(t *testing.T) {
	r := start(t, supervisor.Options{}, handshaking("p", "ready wait"))
	r.awaitReady(1)
	for _, n := range []int{4, 1, 0, 2} {
		if err := r.Scale("p", n); err != nil {
			t.Fatal(err)
		}
		until(t, fmt.Sprintf("%d processes", n), func() bool { return r.ready() == n && len(r.Status()) == n })
	}
	if err := r.Scale("p", -1); !errors.Is(err, supervisor.ErrProgram) {
		t.Errorf("scale to -1: %v", err)
	}
}

func TestReloadTouchesOnlyWhatHasChanged(t *testing.T) {
	same, grown := handshaking("same", "ready wait"), handshaking("grown", "ready wait")
	changed, gone := handshaking("changed", "ready wait"), handshaking("gone", "ready wait")
	r := start(t, supervisor.Options{}, same, grown, changed, gone)
	r.awaitReady(4)
	old := map[string]int{}
	for _, st := range r.Status() {
		old[st.Program] = st.PID
	}
	bad := same
	bad.Command = nil
	if err := r.Reload([]supervisor.Program{bad}); !errors.Is(err, supervisor.ErrProgram) {
		t.Errorf("a bad set: %v", err)
	}
	if r.ready() != 4 {
		t.Error("a bad set changed something")
	}
	grown.Processes = 2
	changed.Env = append(slices.Clone(changed.Env), "NEW=1")
	if err := r.Reload([]supervisor.Program{same, grown, changed, handshaking("new", "ready wait")}); err != nil {
		t.Fatal(err)
	}
	now := map[string][]int{}
	until(t, "the new set", func() bool {
		now = map[string][]int{}
		for _, st := range r.Status() {
			now[st.Program] = append(now[st.Program], st.PID)
		}
		return r.ready() == 5 && len(now) == 4 && len(now["gone"]) == 0 && now["changed"][0] != old["changed"]
	})
	if now["same"][0] != old["same"] || now["grown"][0] != old["grown"] || len(now["grown"]) != 2 {
		t.Errorf("was %v, is %v", old, now)
	}
}

func TestARollOfABadVersionLeavesTheOthersAlone(t *testing.T) {
	p := handshaking("p", "ready wait")
	p.Processes = 3
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(3)
	p.Env = []string{roleEnv + "=exit:1"}
	if err := r.Reload([]supervisor.Program{p}); err != nil {
		t.Fatal(err)
	}
	until(t, "five vain tries", func() bool { return len(r.seen(supervisor.KindExited)) >= 6 })
	if n := r.ready(); n != 2 {
		t.Errorf("%d are ready, want the 2 old ones", n)
	}
	p.Env = []string{roleEnv + "=ready wait"}
	if err := r.Reload([]supervisor.Program{p}); err != nil {
		t.Fatal(err)
	}
	r.awaitReady(3)
}

func TestAProgramThatComesBackWhileItStopsIsStartedAgain(t *testing.T) {
	p := handshaking("p", "catch ready term sleep:200ms exit:0")
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(1)
	old := r.pids()
	if err := r.Reload(nil); err != nil {
		t.Fatal(err)
	}
	until(t, "its stop", func() bool { return r.ready() == 0 })
	if err := r.Reload([]supervisor.Program{p}); err != nil {
		t.Fatal(err)
	}
	until(t, "its return", r.replaced(old, 1))
}

func TestASecondStopSignalReachesAProcessThatIsStopping(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	r := start(t, supervisor.Options{}, handshaking("p", "catch ready term mark:"+file+" term exit:4"))
	r.awaitReady(1)
	r.stop()
	until(t, "the first signal", func() bool { return len(pids(file)) == 1 })
	r.Again()
	if e := r.exit(); e.Code != 4 {
		t.Errorf("exit %+v", e)
	}
}

func TestItsOwnParentIsTold(t *testing.T) {
	p := handshaking("p", "sleep:100ms ready wait")
	r := start(t, supervisor.Options{WatchdogEvery: 10 * time.Millisecond}, p)
	r.awaitReady(1)
	has := func(line string) func() bool {
		return func() bool { return slices.Contains(slices.Collect(lines(r.heard())), line) }
	}
	until(t, "READY=1", has("READY=1"))
	until(t, "WATCHDOG=1", has("WATCHDOG=1"))
	until(t, "the status", has("STATUS=1 of 1 processes ready"))
	if err := r.Reload([]supervisor.Program{p}); err != nil {
		t.Fatal(err)
	}
	until(t, "a second READY=1", func() bool { return count(r.heard(), "READY=1") == 2 })
	r.end()
	if heard := r.heard(); count(heard, "RELOADING=1") != 1 || count(heard, "STOPPING=1") != 1 {
		t.Errorf("told:\n%s", heard)
	}
}

func TestBadProgramsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*supervisor.Program){
		"name":        func(p *supervisor.Program) { p.Name = "../x" },
		"no command":  func(p *supervisor.Program) { p.Command = nil },
		"too many":    func(p *supervisor.Program) { p.Processes = supervisor.MaxProcesses + 1 },
		"minimum":     func(p *supervisor.Program) { p.MinReady = 2 },
		"backoff":     func(p *supervisor.Program) { p.Backoff.Max = 1 },
		"time":        func(p *supervisor.Program) { p.StopTimeout = -1 },
		"loop":        func(p *supervisor.Program) { p.Loop.Within = -1 },
		"environment": func(p *supervisor.Program) { p.Env = []string{"A=\x00"} },
	} {
		p := child("p", "wait")
		change(&p)
		if _, err := supervisor.New([]supervisor.Program{p}, supervisor.Options{}); !errors.Is(err, supervisor.ErrProgram) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := child("p", "wait")
	if _, err := supervisor.New([]supervisor.Program{p, p}, supervisor.Options{}); !errors.Is(err, supervisor.ErrProgram) {
		t.Errorf("twice: %v", err)
	}
}
