package monitor

import (
	"fmt"
	"slices"
	"time"
)

// An ActionKind is something that a monitor can do by itself.
type ActionKind string

// The kinds of actions. None of them loses or repeats work.
const (
	NoAction       ActionKind = "none"
	RestartWorker  ActionKind = "restart_worker"  // it finishes what it can, and its supervisor starts a successor
	RollingRestart ActionKind = "rolling_restart" // of the workers of a program, one after the other
	PauseQueue     ActionKind = "pause_queue"     // for PauseFor
)

// PauseFor is how long a queue stays paused that a monitor has paused.
const PauseFor = 15 * time.Minute

// A Target is what an action can be done to.
type Target struct {
	Worker  string `json:"worker,omitempty"`
	Program string `json:"program,omitempty"`
	Queue   string `json:"queue,omitempty"`
}

// of is the target of a kind of action; empty means that there is none.
func (t Target) of(kind ActionKind) string {
	return map[ActionKind]string{RestartWorker: t.Worker, RollingRestart: t.Program, PauseQueue: t.Queue}[kind]
}

// An Action is an intent that has been written down, and what came of it.
type Action struct {
	Kind    ActionKind `json:"kind"`
	Target  string     `json:"target"`
	Rule    string     `json:"rule"`
	Subject string     `json:"subject,omitempty"`
	Host    string     `json:"host"` // whose monitor acts
	Why     string     `json:"why"`
	At      time.Time  `json:"at"`
	Outcome string     `json:"outcome,omitempty"` // empty: not known, its monitor may have died
}

// done is the outcome of an action that was carried out.
const done = "done"

// id tells actions apart.
func (a Action) id() string {
	return fmt.Sprint(a.Kind, "/", a.Target, "/", a.Rule, "/", a.Host, "/", a.At.UnixNano())
}

// A Budget bounds what a monitor does by itself. When it is used up, a
// condition is raised instead. Zero fields have defaults.
type Budget struct {
	Off        bool          // never act
	PerHour    int           // 0 means 6
	PerSubject int           // an hour, for one worker, program or queue; 0 means 2
	Again      time.Duration // how long an action may take to help before it is repeated; 0 means 10 min
}

// withDefaults fills in the documented defaults.
func (b Budget) withDefaults() Budget {
	if b.PerHour == 0 {
		b.PerHour = 6
	}
	if b.PerSubject == 0 {
		b.PerSubject = 2
	}
	if b.Again == 0 {
		b.Again = 10 * time.Minute
	}
	return b
}

// remembered is how long an action counts.
const remembered = time.Hour

// aged drops actions that no longer count. Those of the future, which a clock
// that was set back leaves behind, count as of now.
func aged(ledger []Action, at time.Time) []Action {
	ledger = slices.DeleteFunc(slices.Clone(ledger), func(a Action) bool { return at.Sub(a.At) > remembered })
	for i := range ledger {
		if ledger[i].At.After(at) {
			ledger[i].At = at
		}
	}
	return ledger
}

// plan writes down what is to be done about critical conditions that are seen
// now. refused are those for which the budget leaves nothing.
func (e Engine) plan(ledger []Action, w *walk) (next []Action, refused []Finding) {
	b := e.Budget.withDefaults()
	if b.Off {
		return ledger, nil
	}
	for _, t := range w.tracks {
		rule := w.rules[t.Name]
		target := t.Target.of(rule.Action)
		if t.Level != Critical || t.Seen != Critical || target == "" || !t.Judged.Equal(w.reading.At) ||
			b.waits(ledger, t, w.reading.At) {
			continue
		}
		if why := b.exhausted(ledger, target); why != "" {
			refused = refuse(refused, target, t, fmt.Sprintf("%s of %s is not tried (%s): %s", rule.Action, target, why, t.Text))
			continue
		}
		ledger = append(ledger, Action{
			Kind: rule.Action, Target: target, Rule: t.Name, Subject: t.Subject, Host: w.reading.Host, Why: t.Text,
			At: w.reading.At,
		})
	}
	return ledger, refused
}

// refuse adds that nothing is done to a target for a track. There is one finding for a target,
// however many tracks lead to it: its condition is one.
func refuse(refused []Finding, target string, t Track, text string) []Finding {
	if i := slices.IndexFunc(refused, func(f Finding) bool { return f.Subject == target }); i >= 0 {
		refused[i].Text += "; " + text
		return refused
	}
	return append(refused, Finding{
		Subject: target, Value: float64(Critical), Try: t.Try, Text: text,
		Impact: "it does not heal by itself: somebody has to look",
	})
}

// waits reports whether something was done about the track lately, or to the
// same target for another reason.
func (b Budget) waits(ledger []Action, t Track, at time.Time) bool {
	return slices.ContainsFunc(ledger, func(a Action) bool {
		same := a.Rule == t.Name && a.Subject == t.Subject || a.Target != "" && a.Target == t.Target.of(a.Kind)
		return same && at.Sub(a.At) < b.Again
	})
}

// exhausted says why the budget leaves nothing for a target, or "".
func (b Budget) exhausted(ledger []Action, target string) string {
	mine := 0
	for _, a := range ledger {
		if a.Target == target {
			mine++
		}
	}
	switch {
	case len(ledger) >= b.PerHour:
		return fmt.Sprintf("%d actions within an hour are the most", b.PerHour)
	case mine >= b.PerSubject:
		return fmt.Sprintf("%d for one subject within an hour are the most", b.PerSubject)
	}
	return ""
}
