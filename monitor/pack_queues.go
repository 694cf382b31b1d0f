package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func workersRule() Rule {
	return Rule{
		Name: RuleWorkers, About: "Each queue has a living worker.", Unit: Levels, For: time.Minute, Clear: 30 * time.Second,
		needs: []piece{ofQueues, ofWorkers}, judge: judgeWorkers,
		calm: func(r Reading, _ Past) string { return fmt.Sprintf("%d alive", len(r.alive())) },
		perf: func(r Reading, _ Rule) string { return fmt.Sprintf("workers=%d", len(r.alive())) },
	}
}

// judgeWorkers looks for queues without a living worker. A queue that the
// configuration does not know matters only while something is in it.
func judgeWorkers(r Reading, _ Past, _ Rule) []Finding {
	var found []Finding
	alive := r.alive()
	for _, q := range r.Queues.Value {
		f := Finding{
			Subject: q.Name, Try: "up", Text: "no living worker for " + q.Name,
			Impact: "messages are accepted, and wait until a worker starts",
		}
		switch {
		case q.Paused, q.Transport == "" && q.Ready+q.Delayed+q.InFlight == 0,
			slices.ContainsFunc(alive, func(w Worker) bool { return w.Serves(q.Name) }):
		case q.Ready > 0:
			f.Value = float64(Critical)
			f.Text += " (" + plural(q.Ready, "message") + " waiting)"
		default:
			f.Value = float64(Warning)
		}
		found = append(found, f)
	}
	return found
}

func failedRule() Rule {
	return Rule{
		Name: RuleFailed, About: "How many dead letters there are.", Unit: Count, Warning: noThreshold(), Critical: 100,
		For: 0, Clear: time.Minute, needs: []piece{ofQueues},
		judge: func(r Reading, _ Past, rule Rule) []Finding {
			dead := deadLetters(r)
			return []Finding{{
				Value: float64(dead), Try: "failed list",
				Text:   fmt.Sprintf("%d dead letters, at most %.0f are allowed", dead, rule.threshold(Critical)),
				Impact: "this work is not done, and is not tried again by itself",
			}}
		},
		calm: func(r Reading, _ Past) string { return plural(deadLetters(r), "dead letter") },
		perf: func(r Reading, rule Rule) string {
			return fmt.Sprintf("failed=%d;;%.0f", deadLetters(r), rule.threshold(Critical))
		},
	}
}

func deadLetters(r Reading) (dead int64) {
	for _, q := range r.Queues.Value {
		dead += q.Dead
	}
	return dead
}

func oldestRule() Rule {
	return Rule{
		Name: RuleOldest, About: "For how long a message has been due.", Unit: Seconds, Warning: 15 * 60, Critical: 4 * 3600,
		For: time.Minute, Clear: time.Minute, needs: []piece{ofQueues},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, q := range r.Queues.Value {
				f := Finding{
					Subject: q.Name, Value: q.Oldest.Seconds(), Try: "stats " + q.Transport,
					Text:   fmt.Sprintf("the oldest message has been due for %s, on %s", span(q.Oldest), q.Name),
					Impact: "messages are late: the workers do not keep up, or cannot work",
				}
				if q.Paused {
					f.Value = 0
				}
				f.Try = strings.TrimSpace(f.Try)
				found = append(found, f)
			}
			return found
		},
		calm: func(r Reading, _ Past) string {
			q := oldestQueue(r)
			if q.Oldest == 0 {
				return "no message is waiting"
			}
			return fmt.Sprintf("the oldest message has been due for %s, on %s", span(q.Oldest), q.Name)
		},
		perf: func(r Reading, rule Rule) string {
			return fmt.Sprintf("oldest=%.0fs;%.0f", oldestQueue(r).Oldest.Seconds(), rule.threshold(Warning))
		},
	}
}

func oldestQueue(r Reading) (oldest Queue) {
	for _, q := range r.Queues.Value {
		if q.Oldest > oldest.Oldest {
			oldest = q
		}
	}
	return oldest
}

// progressRule is the heart of it: work that could be done and is not.
func progressRule() Rule {
	return Rule{
		Name:  RuleProgress,
		About: "For how long nothing was claimed, while a message was due and a slot was free.",
		Unit:  Seconds, Warning: noThreshold(), Critical: 60, For: 15 * time.Second, Clear: 30 * time.Second,
		Action: RestartWorker, Actions: []ActionKind{NoAction, RestartWorker, RollingRestart},
		needs: []piece{ofQueues, ofWorkers, ofHolds}, judge: judgeProgress,
		calm: func(Reading, Past) string { return "what is due is claimed while slots are free" },
	}
}

// judgeProgress measures how long nothing was taken from each queue that has a
// free slot. A first reading has nothing to compare with: then the head's age
// and the newest claim in flight bound it.
func judgeProgress(r Reading, past Past, _ Rule) []Finding {
	var found []Finding
	for _, q := range r.Queues.Value {
		i := slices.IndexFunc(r.Workers.Value, func(w Worker) bool { return w.Serves(q.Name) && hasFreeSlot(r, past, w) })
		f := Finding{Subject: q.Name}
		if i >= 0 && q.Ready > 0 && !q.Paused {
			w, still := r.Workers.Value[i], stoodStill(r, past, q)
			f.Value, f.Target = still.Seconds(), Target{Worker: w.ID, Program: w.Program, Queue: q.Name}
			f.Text = fmt.Sprintf("nothing was claimed from %s for %s, while %s due and worker %s has free slots",
				q.Name, span(still), areDue(q.Ready), w.ID)
			f.Impact, f.Try = "the queue stands still although somebody could work", "restart-workers "+w.Program
		}
		found = append(found, f)
	}
	return found
}

// stoodStill is for how long nothing was taken from a queue, at least.
func stoodStill(r Reading, past Past, q Queue) time.Duration {
	still := q.Oldest
	for _, sign := range []time.Time{r.lastClaim(q.Name), past.Queues[q.Name].Moved} {
		if !sign.IsZero() {
			still = min(still, max(r.At.Sub(sign), 0))
		}
	}
	return still
}

func areDue(n int64) string {
	if n == 1 {
		return "1 message is"
	}
	return fmt.Sprintf("%d messages are", n)
}

// hasFreeSlot reports whether a worker could take more. One that is busy has a
// slot free now and then, between two messages; that does not count.
func hasFreeSlot(r Reading, past Past, w Worker) bool {
	if !w.Alive(r.At) || w.State != running || w.InFlight >= w.Concurrency {
		return false
	}
	mark, seen := past.Workers[w.ID]
	return !seen || mark.Idle || 2*w.InFlight <= w.Concurrency
}

func newFailedRule() Rule {
	return Rule{
		Name: RuleNewFailed, About: "How many dead letters are new, within ten minutes.", Unit: Count, Warning: 10,
		Critical: 100, For: 0, Clear: 5 * time.Minute, needs: []piece{ofLetters},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for queue, n := range r.Letters.Value {
				found = append(found, Finding{
					Subject: queue, Value: float64(n), Try: "failed groups",
					Text:   fmt.Sprintf("%s of %s within %s", plural(n, "new dead letter"), queue, span(NewWithin)),
					Impact: "something has begun to fail for good",
				})
			}
			return found
		},
		calm: func(Reading, Past) string { return "few or none" },
	}
}

func handlersRule() Rule {
	return Rule{
		Name: RuleHandlers, About: "Each kind that waits has a worker that can handle it.", Unit: Levels,
		For: 2 * time.Minute, Clear: time.Minute, needs: []piece{ofHeldBack, ofWorkers},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, k := range r.HeldBack.Value {
				f := Finding{
					Subject: k.Queue + "/" + k.Kind, Try: "failed list --kind " + k.Kind,
					Text:   fmt.Sprintf("no worker of %s can handle %s (%s waiting)", k.Queue, k.Kind, plural(k.Messages, "message")),
					Impact: "they become dead letters an hour after they were due",
				}
				if unhandled(r, k) {
					f.Value = float64(Critical)
				}
				found = append(found, f)
			}
			return found
		},
		calm: func(Reading, Past) string { return "known for every kind that waits" },
	}
}

// unhandled reports whether there are workers for the queue, and none of them
// knows the kind. Without any worker another rule speaks.
func unhandled(r Reading, k HeldBack) bool {
	any := false
	for _, w := range r.alive() {
		if !w.Serves(k.Queue) {
			continue
		}
		if slices.Contains(w.Kinds, k.Kind) {
			return false
		}
		any = true
	}
	return any
}

func pausedRule() Rule {
	return Rule{
		Name: RulePaused, About: "No queue is paused.", Unit: Levels, needs: []piece{ofQueues},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, q := range r.Queues.Value {
				if !q.Paused {
					continue
				}
				why := orNone([]string{q.PausedWhy}, "no reason given")
				found = append(found, Finding{
					Subject: q.Name, Value: float64(Warning), Try: "queues resume " + q.Name,
					Text:   fmt.Sprintf("%s is paused, and %s due: %s", q.Name, areDue(q.Ready), why),
					Impact: "its messages wait until somebody resumes it, or the pause ends",
				})
			}
			return found
		},
		calm: func(Reading, Past) string { return "none" },
	}
}
