package monitor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/monitor"
)

// A fault is what makes a rule fire in a simulation.
type fault struct {
	level   monitor.Level // that it reaches
	subject string
	cause   func(r *monitor.Reading, lasts time.Duration)
}

// faults has one for each rule of the pack.
func faults() map[string]fault {
	type (
		reading = monitor.Reading
		span    = time.Duration
	)
	return map[string]fault{
		monitor.RuleStore: {monitor.Critical, "", func(r *reading, _ span) {
			*r = reading{At: r.At, Elapsed: r.Elapsed, Host: r.Host, Programs: r.Programs, Disks: r.Disks, Pools: r.Pools,
				Store: monitor.Is(monitor.Store{Why: "connection refused"})}
		}},
		monitor.RuleWorkers: {monitor.Critical, "slow", func(r *reading, _ span) {
			for i := range r.Workers.Value {
				r.Workers.Value[i].Queues = []string{"mail"}
			}
			queue(r, "slow").Ready = 1
		}},
		monitor.RuleFailed: {monitor.Critical, "", func(r *reading, _ span) { queue(r, "mail").Dead = 101 }},
		monitor.RuleOldest: {monitor.Warning, "mail", func(r *reading, lasts span) {
			q := queue(r, "mail")
			q.Ready, q.Oldest = 5000-int64(lasts/time.Second), 20*time.Minute
			for i := range r.Workers.Value {
				r.Workers.Value[i].InFlight = 8
			}
		}},
		monitor.RuleProgress: {monitor.Critical, "mail", func(r *reading, lasts span) {
			q := queue(r, "mail")
			q.Ready, q.Oldest = 3, lasts
		}},
		monitor.RuleStuck: {monitor.Critical, "w1", func(r *reading, lasts span) {
			r.Holds.Value = []monitor.Hold{{Worker: "w1", Queue: "mail", First: r.At.Add(-lasts), Last: r.At.Add(-lasts)}}
		}},
		monitor.RuleFailureRate: {monitor.Critical, "shop", func(r *reading, lasts span) {
			for i := range r.Workers.Value {
				r.Workers.Value[i].Failed = r.Workers.Value[i].Handled/20 + int64(lasts/time.Second)*19/2
			}
		}},
		monitor.RuleNewFailed: {monitor.Critical, "mail", func(r *reading, _ span) {
			r.Letters.Value["mail"] = 101
		}},
		monitor.RuleHandlers: {monitor.Critical, "mail/unheard_of", func(r *reading, _ span) {
			r.HeldBack.Value = []monitor.HeldBack{{Queue: "mail", Kind: "unheard_of", Messages: 2}}
		}},
		monitor.RuleCrashLoop: {monitor.Critical, "shop", func(r *reading, _ span) {
			r.Programs.Value[0].Restarts, r.Programs.Value[0].LastExit = 9, "signal: killed"
		}},
		monitor.RuleMemory:      {monitor.Critical, "w2", func(r *reading, _ span) { r.Workers.Value[1].RSS = 600 << 20 }},
		monitor.RuleConnections: {monitor.Critical, "", func(r *reading, _ span) { r.Server.Value.Used = 99 }},
		monitor.RulePools:       {monitor.Warning, "control", func(r *reading, _ span) { r.Pools.Value[0].Waits = 200 }},
		monitor.RuleClock:       {monitor.Critical, "", func(r *reading, _ span) { r.Clock.Value.Skew = -time.Hour }},
		monitor.RuleDisk:        {monitor.Critical, "store", func(r *reading, _ span) { r.Disks.Value[0].Free = 1 << 20 }},
		monitor.RulePaused: {monitor.Warning, "slow", func(r *reading, _ span) {
			q := queue(r, "slow")
			q.Paused, q.PausedWhy, q.Ready, q.Oldest = true, "the mail server is down", 50, 10*time.Hour
		}},
		monitor.RuleUndelivered: {monitor.Critical, "ops", func(r *reading, lasts span) {
			r.Alerts.Value = []monitor.Undelivered{{Channel: "ops", For: lasts, Alerts: 2, Why: "it answers 502"}}
		}},
		monitor.RuleReading: {monitor.Unknown, "", func(r *reading, _ span) {
			r.Queues = monitor.Missing[[]monitor.Queue]("permission denied")
		}},
	}
}

func TestEachRuleFiresOnceByItsFaultAloneAndResolves(t *testing.T) {
	t.Parallel()
	known := faults()
	for _, rule := range monitor.Pack() {
		f, ok := known[rule.Name]
		if rule.Name == monitor.RuleBudget {
			continue // see TestWhenTheBudgetIsUsedUpItAlertsInstead
		}
		if !ok {
			t.Errorf("rule %s has no fault that shows it", rule.Name)
			continue
		}
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			film := newFilm(t)
			film.play(10*time.Minute, well)
			if len(film.changes) > 0 {
				t.Fatalf("it fires before there is a fault: %+v", film.changes)
			}
			began, lasts := film.at, 50*time.Minute
			if rule.Name == monitor.RuleProgress {
				lasts = 14 * time.Minute // then the message is late as well
			}
			film.play(lasts, func(r *monitor.Reading) { f.cause(r, r.At.Sub(began)) })
			open := film.state.Conditions()
			if len(open) != 1 || open[0].Name != rule.Name || open[0].Level != f.level || open[0].Subject != f.subject {
				t.Errorf("open are %+v, want one %s of %s on %q", open, f.level, rule.Name, f.subject)
			}
			film.play(20*time.Minute, well)
			checkOnce(t, film.changes)
			if left := film.state.Conditions(); len(left) > 0 {
				t.Errorf("it does not resolve: %+v", left)
			}
		})
	}
}

// checkOnce wants one condition that came, perhaps became worse, and went,
// perhaps by a milder level.
func checkOnce(t *testing.T, changes []monitor.Transition) {
	t.Helper()
	falls := false
	for i, c := range changes {
		if c.Text == "" || c.Impact == "" || c.Level != monitor.OK && c.Try == "" && c.Name != monitor.RuleStore {
			t.Errorf("it does not say what, why and what to do: %+v", c)
		}
		rises := c.Level > c.From
		if (i == 0) != (c.From == monitor.OK) || (i == len(changes)-1) != (c.Level == monitor.OK) || falls && rises {
			t.Errorf("it did not come once and go once: %s", path(changes))
			return
		}
		falls = !rises
	}
}

func path(changes []monitor.Transition) string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s %s/%s %s→%s", c.At.Format("15:04:05"), c.Name, c.Subject, c.From, c.Level))
	}
	return strings.Join(out, ", ")
}

func TestAHealthyHourIsSilent(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		film := newFilm(t)
		film.play(time.Hour, func(r *monitor.Reading) { *r = noisy(r.At, rnd) })
		if len(film.changes) > 0 {
			t.Fatalf("seed %d: %s: %+v", seed, path(film.changes), film.changes[0])
		}
	}
}

func TestAFaultThatDoesNotLastIsNotTold(t *testing.T) {
	t.Parallel()
	for name, f := range faults() {
		i := slices.IndexFunc(monitor.Pack(), func(r monitor.Rule) bool { return r.Name == name })
		if rule := monitor.Pack()[i]; rule.For < 30*time.Second || name == monitor.RuleFailureRate {
			continue // told at once, or measured over minutes anyway
		}
		film := newFilm(t)
		for range 20 {
			film.play(30*time.Second, func(r *monitor.Reading) { f.cause(r, 29*time.Minute) })
			film.play(5*time.Minute+30*time.Second, well)
		}
		film.changes = slices.DeleteFunc(film.changes, func(c monitor.Transition) bool { return c.Name != name })
		if len(film.changes) > 0 {
			t.Errorf("%s: %s", name, path(film.changes))
		}
	}
}

func TestProgressOfAnyKindIsSeen(t *testing.T) {
	t.Parallel()
	for name, sign := range map[string]func(r *monitor.Reading, n int64){
		"fewer are due": func(r *monitor.Reading, n int64) { queue(r, "mail").Ready = 5000 - n },
		"another is first": func(r *monitor.Reading, n int64) {
			queue(r, "mail").Oldest = 10*time.Minute - time.Duration(n)*time.Second
		},
		"a claim is new": func(r *monitor.Reading, _ int64) {
			r.Holds.Value = []monitor.Hold{{Queue: "mail", First: r.At, Last: r.At}}
		},
		"a claim is new now and then": func(r *monitor.Reading, n int64) {
			if n/20%3 == 0 {
				r.Holds.Value = []monitor.Hold{{Queue: "mail", First: r.At, Last: r.At}}
			}
		},
		"its worker handles":          func(r *monitor.Reading, _ int64) { r.Workers.Value[0].Queues = []string{"mail"} },
		"no slot is free":             func(r *monitor.Reading, _ int64) { occupy(r, inFlight(8)) },
		"a slot is free for a moment": func(r *monitor.Reading, _ int64) { occupy(r, inFlight(7)) },
		"the worker stops":            func(r *monitor.Reading, _ int64) { occupy(r, stopping) },
		"the queue is paused":         func(r *monitor.Reading, _ int64) { queue(r, "mail").Paused = true },
	} {
		film, n := newFilm(t), int64(0)
		film.play(14*time.Minute, func(r *monitor.Reading) {
			n += 20
			queue(r, "mail").Ready, queue(r, "mail").Oldest = 5000, r.At.Sub(noon)
			sign(r, n)
		})
		if open := film.state.Conditions(); slices.ContainsFunc(open, func(c monitor.Condition) bool {
			return c.Name == monitor.RuleProgress
		}) {
			t.Errorf("%s: %+v", name, open)
		}
	}
}

func inFlight(n int) func(*monitor.Worker) { return func(w *monitor.Worker) { w.InFlight = n } }

func stopping(w *monitor.Worker) { w.State = "stopping" }

func occupy(r *monitor.Reading, how func(*monitor.Worker)) {
	for i := range r.Workers.Value {
		how(&r.Workers.Value[i])
	}
}

func TestWorkersThatFellSilentAreACrashLoopWithoutASupervisor(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.play(time.Minute, func(r *monitor.Reading) {
		r.Programs = monitor.None[[]monitor.Program]()
		for range 6 {
			r.Workers.Value = append(r.Workers.Value, monitor.Worker{WorkerRecord: driver.WorkerRecord{
				ID: fmt.Sprint("dead", len(r.Workers.Value)), Host: "b", Program: "shop", Seen: r.At.Add(-5 * time.Minute),
			}})
		}
	})
	open := film.state.Conditions()
	if len(open) != 1 || open[0].Name != monitor.RuleCrashLoop || open[0].Subject != "shop@b" {
		t.Errorf("open are %+v", open)
	}
}
