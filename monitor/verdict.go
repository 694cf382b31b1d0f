package monitor

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Verdict is the judgement as it is shown: by health, status, probes and
// whatever else looks at it.
type Verdict struct {
	At         time.Time   `json:"at"`
	Level      Level       `json:"level"` // the worst
	Conditions []Condition `json:"conditions"`
	Checks     []Check     `json:"checks,omitempty"`
	Actions    []Action    `json:"actions,omitempty"` // within the last hour, the newest first
}

// A Check is what one rule says.
type Check struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Try   string `json:"try,omitempty"` // the command to run next, without the program's name
	Perf  string `json:"-"`             // performance data for Nagios
}

// rank orders conditions: the worst first, then those that have lasted longest.
func rank(cs []Condition) {
	slices.SortStableFunc(cs, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), a.Since.Compare(b.Since), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Subject, b.Subject))
	})
}

// Glance judges one reading at once: what is seen counts without having lasted.
// A probe asks so, which has no history. s is what a monitor that runs knows,
// or a fresh state: what it still tells is told, too, with its time, and its
// past serves the rules that compare. So a glance is never greener than the
// monitor. Nothing is remembered.
func (e Engine) Glance(s State, r Reading) Verdict {
	e.Budget.Off = true
	next, _ := e.Step(s, r)
	v := Verdict{At: r.At, Conditions: []Condition{}, Actions: newestFirst(next.Ledger)}
	for _, t := range next.Tracks {
		c := t.Condition
		if c.Level = max(t.Level, t.Seen); t.Level == OK {
			c.Since = t.Judged
		}
		if c.Level != OK && (t.Judged.Equal(r.At) || t.Level != OK) {
			v.Conditions = append(v.Conditions, c)
		}
	}
	rank(v.Conditions)
	v.Level = worst(next.Blind, v.Conditions)
	v.Checks = e.checks(r, next.Past, v.Conditions)
	return v
}

// Verdict is what a state tells.
func (s State) Verdict() Verdict {
	v := Verdict{At: s.At, Conditions: s.Conditions(), Actions: newestFirst(s.Ledger)}
	if v.Conditions == nil {
		v.Conditions = []Condition{}
	}
	v.Level = worst(s.Blind, v.Conditions)
	return v
}

// newestFirst is never nil, so that it is a list in JSON, too.
func newestFirst(ledger []Action) []Action {
	out := append([]Action{}, ledger...)
	slices.Reverse(out)
	return out
}

// worst is the level of it all. What could not be read is unknown, whatever is
// told.
func worst(blind []string, cs []Condition) Level {
	level := OK
	if len(blind) > 0 {
		level = Unknown
	}
	for _, c := range cs {
		level = max(level, c.Level)
	}
	return level
}

// checks lists what each rule says, in the order of the rules.
func (e Engine) checks(r Reading, past Past, cs []Condition) []Check {
	var out []Check
	for _, rule := range e.Rules {
		if rule.Off {
			continue
		}
		c := Check{Name: rule.Name}
		var texts []string
		for _, condition := range cs {
			if condition.Name != rule.Name {
				continue
			}
			c.Level = max(c.Level, condition.Level)
			c.Try = cmp.Or(c.Try, condition.Try)
			texts = append(texts, condition.Text)
		}
		yes, why := rule.canJudge(r)
		if yes && rule.perf != nil {
			c.Perf = rule.perf(r, rule)
		}
		switch {
		case len(texts) > 0:
			c.Text = strings.Join(texts, "; ")
		case rule.Name == RuleReading && len(r.blind()) > 0:
			c.Level, c.Text = Unknown, "nothing of the store: it is away"
		case !yes:
			c.Level, c.Text = Unknown, why
		default:
			c.Text = rule.calm(r, past)
		}
		out = append(out, c)
	}
	return out
}
