package monitor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxGap is the most that the time between two readings counts when only clocks
// that may jump tell it: a clock that was set ahead must not make a condition
// out of one reading.
const maxGap = 10 * time.Minute

// When another host's conditions are no longer believed, and when they are
// forgotten.
const (
	staleAfter  = 15 * time.Minute
	forgetAfter = 24 * time.Hour
)

// An Engine turns readings into conditions by rules. It is pure: it has no
// state and no clock.
type Engine struct {
	Rules  []Rule
	Budget Budget
}

// Step takes a reading in. It returns the next state and what has changed in
// what is told, in the order of the rules. The same arguments give the same
// results. Time passes by the readings: see Reading.At and Reading.Elapsed.
func (e Engine) Step(s State, r Reading) (State, []Transition) {
	next := State{Version: StateVersion, At: r.At, Past: s.Past.with(r), Ledger: aged(s.Ledger, r.At)}
	for _, k := range r.blind() {
		next.Blind = append(next.Blind, string(k.piece))
	}
	w := &walk{reading: r, old: map[key]Track{}, rules: map[string]Rule{}}
	for _, t := range s.Tracks {
		w.old[t.key()] = t
	}
	for _, rule := range e.Rules {
		w.rules[rule.Name] = rule
		if !rule.Off && rule.Name != RuleBudget {
			w.judge(rule, next.Past)
		}
	}
	var refused []Finding
	next.Ledger, refused = e.plan(next.Ledger, w)
	w.budget(refused)
	w.foreign(e.Rules)
	w.retire()
	slices.SortFunc(w.tracks, byKey)
	next.Tracks = w.tracks
	return next, w.changes
}

// A walk is one Step on its way through the rules.
type walk struct {
	reading Reading
	rules   map[string]Rule
	old     map[key]Track // what has not been dealt with yet
	tracks  []Track
	changes []Transition
}

// judge lets one rule judge.
func (w *walk) judge(rule Rule, past Past) {
	found, judged := rule.Judge(w.reading, past)
	for _, f := range found {
		w.see(rule, f)
	}
	w.rest(rule, judged)
}

// see compares a finding with the track of its subject.
func (w *walk) see(rule Rule, f Finding) {
	k := key{rule: rule.Name, subject: f.Subject}
	if rule.Local || f.Local {
		k.host = w.reading.Host
	}
	t, tracked := w.old[k]
	delete(w.old, k)
	seen := rule.Level(f.Value, t.Level)
	if !tracked && seen == OK {
		return
	}
	if !tracked {
		t.Name, t.Host, t.Subject, t.Judged = k.rule, k.host, k.subject, w.reading.At
	}
	if seen != OK || t.Text == "" {
		t.Text, t.Impact, t.Try, t.Target = f.Text, f.Impact, f.Try, f.Target
	}
	t.Value, t.Threshold = f.Value, rule.threshold(max(seen, t.Level))
	w.settle(rule, t, seen)
}

// rest deals with the tracks of a rule whose subjects were not found: they are
// gone, and so is what was wrong. Where the rule could not judge, they stay as
// they are and the time does not count.
func (w *walk) rest(rule Rule, judged bool) {
	for _, t := range w.left(rule.Name) {
		switch {
		case t.Host != "" && t.Host != w.reading.Host:
			continue
		case judged:
			t.Value = 0
			w.settle(rule, t, OK)
		default:
			t.Judged = w.reading.At
			w.tracks = append(w.tracks, t)
		}
		delete(w.old, t.key())
	}
}

// left lists the tracks of a rule that have not been dealt with, in a fixed
// order.
func (w *walk) left(rule string) []Track {
	var out []Track
	for k, t := range w.old {
		if k.rule == rule {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, byKey)
	return out
}

// settle moves a track by what was seen, and tells a change that has lasted.
func (w *walk) settle(rule Rule, t Track, seen Level) {
	passed := w.passed(t.Judged)
	worse, was := seen > t.Level, t.Seen > t.Level
	switch {
	case seen == t.Level:
		t.Held = 0
	case worse == was && t.Seen != t.Level:
		t.Held += passed
		t.Want = milder(worse, t.Want, seen)
	default:
		t.Held, t.Want = 0, seen
	}
	t.Seen, t.Judged = seen, w.reading.At
	wait := rule.Clear
	if worse {
		wait = rule.For
	}
	if seen != t.Level && t.Held >= wait {
		w.tell(&t, t.Want)
	}
	if t.Level != OK || t.Seen != OK {
		w.tracks = append(w.tracks, t)
	}
}

// milder is the level that has been reached during the whole of a wait: the
// better one while things become worse, and the other way round.
func milder(worse bool, a, b Level) Level {
	if worse {
		return min(a, b)
	}
	return max(a, b)
}

// tell changes what is told.
func (w *walk) tell(t *Track, level Level) {
	from := t.Level
	if from == OK {
		t.Since = w.reading.At
	}
	t.Level, t.Held, t.Want = level, 0, t.Seen
	w.changes = append(w.changes, Transition{Condition: t.Condition, From: from, At: w.reading.At})
}

// passed is how much time has passed since a track was last judged, as far as
// one can be sure of: clocks that jump do not count, and another monitor may
// have judged in between.
func (w *walk) passed(judged time.Time) time.Duration {
	wall := w.reading.At.Sub(judged)
	switch {
	case w.reading.Elapsed > 0 && wall < 0:
		return w.reading.Elapsed
	case w.reading.Elapsed > 0:
		return min(wall, w.reading.Elapsed)
	}
	return min(max(wall, 0), maxGap)
}

// foreign keeps what other hosts found about themselves, as long as they can be
// believed.
func (w *walk) foreign(rules []Rule) {
	for _, rule := range rules {
		for _, t := range w.left(rule.Name) {
			if rule.Off || t.Host == "" || t.Host == w.reading.Host {
				continue
			}
			silent := w.reading.At.Sub(t.Judged)
			if silent > forgetAfter {
				continue // retire tells it
			}
			delete(w.old, t.key())
			if silent > staleAfter && t.Level != OK && t.Level != Unknown {
				t.Text = "host " + t.Host + " has not been heard of; it last said: " + t.Text
				w.tell(&t, Unknown)
				t.Seen, t.Want = Unknown, Unknown // what it saw so long ago is no beginning of anything
			}
			w.tracks = append(w.tracks, t)
		}
	}
}

// retire ends what is left: rules that are off or no more, and hosts that have
// gone.
func (w *walk) retire() {
	left := slices.SortedFunc(maps.Values(w.old), byKey)
	for _, t := range left {
		if t.Level != OK {
			w.tell(&t, OK)
		}
	}
}

func byKey(a, b Track) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Host, b.Host), strings.Compare(a.Subject, b.Subject))
}

// budget raises and clears the condition that actions are used up.
func (w *walk) budget(refused []Finding) {
	rule, on := w.rules[RuleBudget]
	if !on || rule.Off {
		return
	}
	for _, f := range refused {
		w.see(rule, f)
	}
	w.rest(rule, true)
}
