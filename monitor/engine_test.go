package monitor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/monitor"
)

// drawReading draws how bad a few subjects are, what is not known, and how the
// clocks go.
func drawReading(t *rapid.T, at time.Time) (monitor.Reading, time.Time) {
	passed := time.Duration(rapid.Int64Range(1, 180).Draw(t, "passed")) * time.Second
	at = at.Add(passed)
	r := healthy(at)
	r.Elapsed = rapid.SampledFrom([]time.Duration{0, passed}).Draw(t, "elapsed")
	ages := []time.Duration{0, 14 * time.Minute, 16 * time.Minute, 4*time.Hour - time.Minute, 5 * time.Hour}
	for _, name := range []string{"mail", "slow"} {
		queue(&r, name).Ready, queue(&r, name).Oldest = 1, rapid.SampledFrom(ages).Draw(t, name)
	}
	queue(&r, "slow").Paused = rapid.Bool().Draw(t, "paused")
	r.Disks.Value[0].Free = rapid.SampledFrom([]int64{1 << 20, 66 << 20, 500 << 20, 520 << 20, 1 << 40}).Draw(t, "free")
	if rapid.IntRange(0, 9).Draw(t, "blind") == 0 {
		r.Queues = monitor.Missing[[]monitor.Queue]("drawn")
	}
	r.Host = rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "host")
	return r, at
}

func TestNothingFlapsAndNothingIsForgotten(t *testing.T) {
	t.Parallel()
	rules := map[string]monitor.Rule{}
	for _, rule := range monitor.Pack() {
		rules[rule.Name] = rule
	}
	rapid.Check(t, func(t *rapid.T) {
		engine := monitor.Engine{Rules: monitor.Pack()}
		var state, written monitor.State
		at, last := noon, map[string]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "readings") {
			var r monitor.Reading
			r, at = drawReading(t, at)
			before := state.Conditions()
			next, changes := engine.Step(state, r)
			again, same := engine.Step(written, r)
			if !reflect.DeepEqual(changes, same) {
				t.Fatalf("the same reading changes other things:\n%+v\n%+v", changes, same)
			}
			checkPauses(t, rules, last, changes)
			checkAccount(t, before, changes, next.Conditions())
			state, written = next, rewrite(t, again)
		}
	})
}

// checkPauses wants no change sooner after the last one than its rule lets it.
func checkPauses(t *rapid.T, rules map[string]monitor.Rule, last map[string]time.Time, changes []monitor.Transition) {
	for _, c := range changes {
		wait := rules[c.Name].Clear
		if c.Level > c.From {
			wait = rules[c.Name].For
		}
		key := strings.Join([]string{c.Name, c.Host, c.Subject}, "/")
		if since, told := last[key]; told && c.At.Sub(since) < wait {
			t.Fatalf("%s changes %s after its last change, before %s", key, c.At.Sub(since), wait)
		}
		last[key] = c.At
	}
}

// checkAccount wants each open condition to be open still, unless a change says
// otherwise, and none to come without one.
func checkAccount(t *rapid.T, before []monitor.Condition, changes []monitor.Transition, after []monitor.Condition) {
	levels := map[string]monitor.Level{}
	key := func(c monitor.Condition) string { return c.Name + "/" + c.Host + "/" + c.Subject }
	for _, c := range before {
		levels[key(c)] = c.Level
	}
	for _, c := range changes {
		if levels[key(c.Condition)] != c.From {
			t.Fatalf("%s changes from %s, but was %s", key(c.Condition), c.From, levels[key(c.Condition)])
		}
		levels[key(c.Condition)] = c.Level
	}
	for _, c := range after {
		if levels[key(c)] != c.Level {
			t.Fatalf("%s is %s, but nobody was told", key(c), c.Level)
		}
		delete(levels, key(c))
	}
	for name, level := range levels {
		if level != monitor.OK {
			t.Fatalf("%s was %s, and is lost", name, level)
		}
	}
}

// rewrite sends a state through its document.
func rewrite(t *rapid.T, s monitor.State) monitor.State {
	body, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := monitor.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAClockThatJumpsMakesNoCondition(t *testing.T) {
	t.Parallel()
	full := func(r *monitor.Reading) { r.Disks.Value[0].Free = 1 }
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		film := newFilm(t)
		film.play(time.Minute, well)
		film.play(30*time.Second, full)
		film.at = film.at.Add(jump)
		film.play(30*time.Second, full)
		if len(film.changes) > 0 {
			t.Errorf("a jump of %s makes a condition of half a minute: %s", jump, path(film.changes))
		}
		film.play(30*time.Second, full)
		if len(film.changes) != 1 {
			t.Errorf("after a jump of %s a condition of a minute is not told: %s", jump, path(film.changes))
		}
		film.at = film.at.Add(-jump)
		film.play(10*time.Minute, well)
		if len(film.state.Tracks) > 0 {
			t.Errorf("after a jump of %s back it does not resolve: %+v", -jump, film.state.Tracks)
		}
	}
}

func TestWhatCannotBeReadStaysAsItIsAndIsNeverGreen(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.play(5*time.Minute, func(r *monitor.Reading) { queue(r, "mail").Dead = 500 })
	since := film.at
	film.play(time.Hour, func(r *monitor.Reading) { r.Queues = monitor.Missing[[]monitor.Queue]("it hangs") })
	var names []string
	for _, c := range film.state.Conditions() {
		names = append(names, c.Name)
		if c.Name == monitor.RuleFailed && !c.Since.Before(since) {
			t.Errorf("it has begun anew at %s", c.Since)
		}
	}
	if !slices.Equal(names, []string{monitor.RuleFailed, monitor.RuleReading}) {
		t.Errorf("open are %q", names)
	}
	for name, lose := range map[string]func(*monitor.Reading){
		"queues":    func(r *monitor.Reading) { r.Queues = monitor.Missing[[]monitor.Queue]("x") },
		"workers":   func(r *monitor.Reading) { r.Workers = monitor.Missing[[]monitor.Worker]("x") },
		"disks":     func(r *monitor.Reading) { r.Disks = monitor.Missing[[]monitor.Disk]("x") },
		"the store": func(r *monitor.Reading) { faults()[monitor.RuleStore].cause(r, 0) },
		"nothing":   func(r *monitor.Reading) { *r = monitor.Reading{At: r.At, Host: "a"} },
	} {
		r := healthy(noon)
		lose(&r)
		state, _ := film.engine.Step(monitor.State{}, r)
		if l := state.Verdict().Level; l < monitor.Unknown {
			t.Errorf("without %s the verdict is %s", name, l)
		}
		if v := film.engine.Glance(monitor.State{}, r); v.Level < monitor.Unknown {
			t.Errorf("without %s a glance says %s", name, v.Level)
		}
	}
}

func TestAHostSpeaksForItselfOnly(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.play(5*time.Minute, func(r *monitor.Reading) { r.Disks.Value[0].Free = 1 })
	film.play(10*time.Minute, func(r *monitor.Reading) { r.Host = "b" })
	open := film.state.Conditions()
	if len(open) != 1 || open[0].Host != "a" || open[0].Level != monitor.Critical {
		t.Fatalf("another host's reading changes what host a found: %+v", open)
	}
	film.play(10*time.Minute, func(r *monitor.Reading) { r.Host = "b" })
	if open = film.state.Conditions(); len(open) != 1 || open[0].Level != monitor.Unknown {
		t.Errorf("host a is silent, and yet believed: %+v", open)
	}
	film.play(25*time.Hour, func(r *monitor.Reading) { r.Host = "b" })
	if open = film.state.Conditions(); len(open) != 0 {
		t.Errorf("host a is gone, and not forgotten: %+v", open)
	}
}

func TestTwoMonitorsDoNotMakeTimePassTwice(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	for i := range 4 { // each reads every 30 s, in turns
		r := healthy(noon.Add(time.Duration(i) * 15 * time.Second))
		r.Server.Value.Used, r.Host = 99, []string{"a", "b"}[i%2]
		if film.show(r); len(film.changes) > 0 {
			t.Fatalf("after %s of a minute: %s", r.At.Sub(noon), path(film.changes))
		}
	}
	r := healthy(noon.Add(time.Minute))
	r.Server.Value.Used = 99
	if film.show(r); len(film.changes) != 1 {
		t.Errorf("after a minute: %s", path(film.changes))
	}
}

func TestAThresholdHasADeadBand(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.play(time.Minute, func(r *monitor.Reading) { queue(r, "mail").Dead = 101 })
	film.play(time.Hour, func(r *monitor.Reading) { queue(r, "mail").Dead = 95 + int64(r.At.Minute()%10) })
	if len(film.changes) != 1 {
		t.Errorf("around the threshold it flaps: %s", path(film.changes))
	}
	film.play(5*time.Minute, func(r *monitor.Reading) { queue(r, "mail").Dead = 90 })
	if len(film.changes) != 2 {
		t.Errorf("a tenth below the threshold it does not resolve: %s", path(film.changes))
	}
	film = newFilm(t)
	film.play(5*time.Minute, func(r *monitor.Reading) { r.Disks.Value[0].Free = 60 << 20 })
	film.play(time.Hour, func(r *monitor.Reading) { r.Disks.Value[0].Free = 66 << 20 })
	if len(film.changes) != 1 {
		t.Errorf("just above the threshold it flaps: %s", path(film.changes))
	}
}

func TestARuleThatIsTurnedOffEndsItsConditions(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	sick := func(r *monitor.Reading) { queue(r, "mail").Dead = 500 }
	film.play(time.Minute, sick)
	i := slices.IndexFunc(film.engine.Rules, func(r monitor.Rule) bool { return r.Name == monitor.RuleFailed })
	film.engine.Rules[i].Off = true
	film.play(time.Minute, sick)
	if len(film.changes) != 2 || len(film.state.Tracks) != 0 {
		t.Errorf("changes are %s, left is %+v", path(film.changes), film.state.Tracks)
	}
}

func TestADocumentOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"version":2}`, `{`, `{"tracks":[{"level":"worse"}]}`, `{}`} {
		if _, err := monitor.Decode([]byte(body)); !errors.Is(err, monitor.ErrState) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := monitor.Decode(nil); err != nil {
		t.Errorf("no document: %v", err)
	}
}

func TestAGlanceDoesNotWaitAndIsNeverGreenerThanTheMonitor(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	sick := func(r *monitor.Reading) { r.Server.Value.Used = 99 }
	r := healthy(noon)
	sick(&r)
	v := film.engine.Glance(monitor.State{}, r)
	if v.Level != monitor.Critical || len(v.Conditions) != 1 || !v.Conditions[0].Since.Equal(noon) {
		t.Errorf("without history: %+v", v)
	}
	film.play(5*time.Minute, sick)
	since := film.state.Conditions()[0].Since
	v = film.engine.Glance(film.state, healthy(film.at.Add(time.Second)))
	if v.Level != monitor.Critical || !v.Conditions[0].Since.Equal(since) {
		t.Errorf("the monitor still tells it, a glance does not: %+v", v)
	}
	for _, c := range v.Checks {
		if (c.Name == monitor.RuleConnections) != (c.Level == monitor.Critical) || c.Text == "" {
			t.Errorf("check %+v", c)
		}
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

func TestTheDocumentStaysSmall(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.play(3*time.Minute, func(r *monitor.Reading) {
		sick := r.Workers.Value[0]
		for i := range 1000 {
			sick.ID, sick.Program, sick.RSS = fmt.Sprint("w", i), fmt.Sprint("p", i%20), 600<<20
			sick.Seen = r.At.Add(-time.Duration(i%2) * time.Minute)
			r.Workers.Value = append(r.Workers.Value, sick)
			r.Holds.Value = append(r.Holds.Value, monitor.Hold{Worker: sick.ID, First: r.At.Add(-time.Hour), Last: r.At})
			r.Queues.Value = append(r.Queues.Value, monitor.Queue{
				Name: fmt.Sprint("q", i), Ready: 1, Oldest: 5 * time.Hour, Paused: i%2 == 0, PausedWhy: strings.Repeat("why ", 500),
			})
		}
	})
	body, err := film.state.Encode()
	if err != nil || len(body) > 1<<20 {
		t.Errorf("of 1000 sick workers and queues, the document has %d bytes, %v", len(body), err)
	}
}

func TestAWaitBeginsAnewWhenThingsTurn(t *testing.T) {
	t.Parallel()
	due := func(d time.Duration) func(*monitor.Reading) {
		return func(r *monitor.Reading) { queue(r, "mail").Oldest = d }
	}
	film := newFilm(t)
	film.play(5*time.Minute, due(20*time.Minute)) // a warning
	film.play(time.Minute, due(5*time.Hour))      // nearly critical
	film.play(time.Minute, due(0))
	if len(film.changes) != 1 {
		t.Errorf("the time in which it became worse counts for its end: %s", path(film.changes))
	}
	film.play(30*time.Second, due(0))
	if len(film.changes) != 2 {
		t.Errorf("it does not resolve: %s", path(film.changes))
	}
}

func TestTheTimeInWhichNothingIsKnownDoesNotCount(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	late := func(r *monitor.Reading) { r.Elapsed, queue(r, "mail").Oldest = 0, 20*time.Minute }
	film.play(30*time.Second, late)
	film.play(9*time.Minute, func(r *monitor.Reading) { r.Elapsed, r.Queues = 0, monitor.Missing[[]monitor.Queue]("x") })
	film.play(30*time.Second, late)
	for _, c := range film.changes {
		if c.Name == monitor.RuleOldest {
			t.Errorf("it was seen for half a minute, and is told: %s", path(film.changes))
		}
	}
}
