package alert_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/monitor"
)

// noon is when simulations begin.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// condition is one that is told.
func condition(rule, subject string, level monitor.Level) monitor.Condition {
	return monitor.Condition{
		Name: rule, Subject: subject, Level: level, Since: noon, Text: rule + " is bad", Impact: "late mail",
		Try: "failed list",
	}
}

// round is a verdict.
func round(at time.Time, revision int64, cs ...monitor.Condition) *monitor.Round {
	return &monitor.Round{Verdict: monitor.Verdict{At: at, Conditions: cs}, Revision: revision, Host: "web1"}
}

// A world is a simulation: conditions that come and go, channels that fail, hosts that share
// a state.
type world struct {
	t        *rapid.T
	state    alert.State
	now      time.Time
	revision int64
	channels []alert.Settings
	told     map[string][]alert.Notice // what has arrived, by channel and alert
	owed     map[string]bool           // what had to arrive, by channel and alert
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, now: noon, told: map[string][]alert.Notice{}, owed: map[string]bool{}, channels: []alert.Settings{
			{Name: "all", Repeat: time.Hour},
			{Name: "pager", Least: monitor.Critical},
			{Name: "begins", Repeat: 20 * time.Minute, Once: true},
		},
	}
}

// step takes a verdict by one host while another one looks on.
func (w *world) step(who string, cs []monitor.Condition) []alert.Notice {
	w.revision++
	in := alert.Input{Now: w.now, Round: round(w.now, w.revision, cs...), Channels: w.channels, Who: who}
	next, notices := alert.Step(w.state, in)
	again, same := alert.Step(w.rewritten(), in)
	if !reflect.DeepEqual(notices, same) || len(next.Alerts) != len(again.Alerts) {
		w.t.Fatalf("the same step tells other things:\n%+v\n%+v", notices, same)
	}
	in.Who, in.Round = "another", nil
	_, others := alert.Step(next, in)
	for _, n := range others {
		if slices.ContainsFunc(notices, func(m alert.Notice) bool { return m.ID == n.ID && m.Channel == n.Channel }) {
			w.t.Fatalf("two hosts would send: %+v", n)
		}
	}
	w.state = next
	for _, a := range next.Standing() {
		_, silenced := next.Silenced(a.Condition, w.now)
		for _, c := range w.channels {
			if !silenced && a.Condition.Level >= max(c.Least, monitor.Warning) {
				w.owed[c.Name+" "+a.ID] = true
			}
		}
	}
	return notices
}

// rewritten is the state after a way through its document.
func (w *world) rewritten() alert.State {
	body, err := w.state.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := alert.Decode(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// send tries notices, of which some arrive. A host that dies says nothing of them.
func (w *world) send(who string, notices []alert.Notice, broken map[string]bool) {
	var outcomes []alert.Outcome
	for _, n := range notices {
		w.check(n)
		o := alert.Outcome{Notice: n}
		if broken[n.Channel] {
			o.Error = "it answers 502"
		} else {
			k := n.Channel + " " + n.ID
			w.told[k] = append(w.told[k], n)
		}
		outcomes = append(outcomes, o)
	}
	w.state = w.state.Settle(who, w.now, outcomes)
}

// check holds a notice against what the channel has been told of the alert before.
func (w *world) check(n alert.Notice) {
	k := n.Channel + " " + n.ID
	before := w.told[k]
	i := slices.IndexFunc(w.channels, func(c alert.Settings) bool { return c.Name == n.Channel })
	repeat := w.channels[i].Repeat
	if repeat == 0 {
		repeat = alert.DefaultRepeat
	}
	if _, silenced := w.state.Silenced(n.Condition, w.now); silenced && n.Event != alert.Resolved {
		w.t.Fatalf("silenced, and told: %+v", n)
	}
	w.inOrder(n, w.channels[i].Once)
	if len(before) == 0 {
		if n.Event != alert.Firing && n.Event != alert.Resolved || !w.owed[k] {
			w.t.Fatalf("the first that is told is %+v", n)
		}
		return
	}
	last := before[len(before)-1]
	switch {
	case last.Event == alert.Resolved, n.Event == alert.Firing,
		n.Event == alert.Worse && n.Condition.Level <= last.Condition.Level,
		n.Event == alert.Again && n.At.Sub(last.At) < repeat:
		w.t.Fatalf("after %+v\nit tells %+v", last, n)
	}
}

// drawConditions draws what is wrong at a time.
func drawConditions(t *rapid.T) (cs []monitor.Condition) {
	levels := []monitor.Level{monitor.OK, monitor.OK, monitor.Warning, monitor.Unknown, monitor.Critical}
	for _, rule := range []string{"failed", "oldest", "disk"} {
		if level := rapid.SampledFrom(levels).Draw(t, rule); level != monitor.OK {
			cs = append(cs, condition(rule, "", level))
		}
	}
	return cs
}

// inOrder wants that a channel has been told all of earlier alerts of the same condition.
func (w *world) inOrder(n alert.Notice, once bool) {
	for _, a := range w.state.Alerts {
		if a.ID == n.ID {
			return
		}
		k := n.Channel + " " + a.ID
		told := w.told[k]
		done := len(told) > 0 && (once || told[len(told)-1].Event == alert.Resolved)
		if a.Condition.Name == n.Condition.Name && w.owed[k] && !done {
			w.t.Fatalf("%s is told before an earlier one has ended there", n.Condition.Name)
		}
	}
}

func TestEachAlertIsToldOnceToEachChannelAndNoneIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "passed")) * time.Second)
			cs := drawConditions(t)
			broken := map[string]bool{}
			for _, c := range w.channels {
				broken[c.Name] = rapid.IntRange(0, 2).Draw(t, "broken "+c.Name) == 0
			}
			if rapid.IntRange(0, 9).Draw(t, "silence") == 0 {
				w.silence(alert.Matcher{Rule: "fail*"}, time.Hour)
			}
			who := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "who")
			notices := w.step(who, cs)
			if rapid.IntRange(0, 9).Draw(t, "dies") > 0 {
				w.send(who, notices, broken)
			}
		}
		for range 40 { // all is well again
			w.now = w.now.Add(15 * time.Minute)
			w.send("a", w.step("a", nil), nil)
		}
		if len(w.state.Alerts) > 0 {
			t.Fatalf("alerts are left: %+v", w.state.Alerts)
		}
		for k := range w.owed {
			told := w.told[k]
			ends := !strings.HasPrefix(k, "begins ")
			if len(told) == 0 || ends && told[len(told)-1].Event != alert.Resolved {
				t.Fatalf("%s was told %+v", k, told)
			}
		}
		for k := range w.told {
			if !w.owed[k] {
				t.Fatalf("%s was told without need", k)
			}
		}
	})
}

func (w *world) silence(m alert.Matcher, d time.Duration) {
	next, _, err := w.state.Silence(alert.Silence{
		Match: m, Reason: "we know", Actor: "ops", Created: w.now, Until: w.now.Add(d),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.state = next
}

// one steps a state by one host with one channel.
func one(s alert.State, at time.Time, r *monitor.Round) (alert.State, []alert.Notice) {
	return alert.Step(s, alert.Input{Now: at, Round: r, Channels: []alert.Settings{{Name: "ops"}}, Who: "a"})
}

// fails settles notices as failed.
func fails(s alert.State, at time.Time, notices []alert.Notice) alert.State {
	var outcomes []alert.Outcome
	for _, n := range notices {
		outcomes = append(outcomes, alert.Outcome{Notice: n, Error: "refused"})
	}
	return s.Settle("a", at, outcomes)
}

func TestAVerdictThatIsOlderThanTheOneBeforeChangesNothing(t *testing.T) {
	t.Parallel()
	s, notices := one(alert.State{}, noon, round(noon, 7, condition("failed", "", monitor.Critical)))
	if len(notices) != 1 {
		t.Fatalf("notices are %+v", notices)
	}
	for _, r := range []int64{6, 7} { // of hosts that have judged before, and come later
		next, notices := one(s, noon.Add(time.Second), round(noon.Add(time.Second), r))
		if len(next.Standing()) != 1 || len(notices) > 0 {
			t.Errorf("revision %d ends it: %+v", r, notices)
		}
	}
	if next, _ := one(s, noon.Add(time.Second), round(noon, 8)); len(next.Standing()) != 0 {
		t.Error("it does not end")
	}
	if next, _ := one(s, noon.Add(time.Hour), round(noon.Add(time.Hour), 1)); len(next.Standing()) != 0 {
		t.Error("when the monitor's document begins anew, nothing ends any more")
	}
}

func TestADeliveryIsTriedLessAndLessOftenAndABatchIsBounded(t *testing.T) {
	t.Parallel()
	var cs []monitor.Condition
	for i := range 30 {
		cs = append(cs, condition("oldest", fmt.Sprint("q", i), monitor.Warning))
	}
	at := noon
	s, notices := one(alert.State{}, at, round(at, 1, cs...))
	if len(notices) != 20 {
		t.Fatalf("the first batch has %d notices", len(notices))
	}
	s = fails(s, at, notices)
	s, notices = one(s, at, nil)
	if len(notices) != 10 {
		t.Fatalf("the second batch has %d notices", len(notices))
	}
	s = fails(s, at, notices)
	var gaps []time.Duration
	for last := at; len(gaps) < 12; at = at.Add(time.Second) {
		if at.Sub(noon) > 10*time.Hour {
			t.Fatalf("it is not tried any more, after %v", gaps)
		}
		if s, notices = one(s, at, nil); len(notices) == 0 {
			continue
		}
		if i := slices.IndexFunc(notices, func(n alert.Notice) bool { return n.Condition.Subject == "q0" }); i >= 0 {
			gaps = append(gaps, at.Sub(last))
			last = at
			if len(gaps) > 3 && len(notices) > 1 {
				t.Fatalf("what was refused %d times takes others along", len(gaps))
			}
		}
		s = fails(s, at, notices)
	}
	if gaps[0] < 4*time.Second || gaps[0] > 7*time.Second || gaps[3] < 30*time.Second || gaps[11] < 8*time.Minute ||
		gaps[11] > 13*time.Minute {
		t.Errorf("it is tried after %v", gaps)
	}
	f := s.Failures([]alert.Settings{{Name: "ops"}, {Name: "other"}}, at)
	if len(f) != 1 || f[0].Channel != "ops" || f[0].Notices != 30 || f[0].Error != "refused" || !f[0].Since.Equal(noon) {
		t.Errorf("failures are %+v", f)
	}
}

func TestThatAChannelFailsIsToldToTheOthers(t *testing.T) {
	t.Parallel()
	in := alert.Input{
		Now: noon, Who: "a", Round: round(noon, 1, condition(monitor.RuleUndelivered, "ops", monitor.Warning)),
		Channels: []alert.Settings{{Name: "ops"}, {Name: "mail"}},
	}
	_, notices := alert.Step(alert.State{}, in)
	if len(notices) != 1 || notices[0].Channel != "mail" {
		t.Errorf("notices are %+v", notices)
	}
}

func TestAStateIsBoundedAndOneOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	var cs []monitor.Condition
	long := strings.Repeat("x", 400)
	for i := range 400 {
		c := condition("oldest", fmt.Sprint(long[:100], i), monitor.Warning)
		c.Text, c.Impact = long, long[:200]
		cs = append(cs, c)
	}
	channels := []alert.Settings{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}
	s, at := alert.State{}, noon
	for range 16 {
		var notices []alert.Notice
		s, notices = alert.Step(s, alert.Input{Now: at, Round: round(at, 0, cs...), Channels: channels, Who: "a"})
		var outcomes []alert.Outcome
		for _, n := range notices {
			outcomes = append(outcomes, alert.Outcome{Notice: n, Error: long})
		}
		s = s.Settle("a", at, outcomes)
		at = at.Add(time.Second)
	}
	body, err := s.Encode()
	if err != nil || len(body) > 1<<20 {
		t.Errorf("the document has %d bytes: %v", len(body), err)
	}
	if s.Dropped == 0 {
		t.Error("nobody knows that there were too many")
	}
	if _, err := alert.Decode([]byte(`{"version":2}`)); err == nil {
		t.Error("a newer document is read")
	}
}
