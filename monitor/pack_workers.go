package monitor

import (
	"fmt"
	"strings"
	"time"
)

func stuckRule() Rule {
	return Rule{
		Name: RuleStuck, About: "For how long a worker has had a message in hand.", Unit: Seconds,
		Warning: 10 * 60, Critical: 30 * 60, For: 30 * time.Second, Clear: 30 * time.Second,
		Action: RestartWorker, Actions: []ActionKind{NoAction, RestartWorker},
		needs: []piece{ofWorkers, ofHolds}, judge: judgeStuck,
		calm: func(Reading, Past) string { return "no message is in hand for long" },
	}
}

func judgeStuck(r Reading, _ Past, _ Rule) []Finding {
	var found []Finding
	for _, w := range r.Workers.Value {
		h, holds := r.oldestHold(w.ID)
		if !holds {
			continue
		}
		held := max(r.At.Sub(h.First), 0)
		found = append(found, Finding{
			Subject: w.ID, Value: held.Seconds(), Try: "restart-workers --id " + w.ID,
			Text: fmt.Sprintf("worker %s (%s on %s) has had a message of %s in hand for %s",
				w.ID, w.Program, w.Host, h.Queue, span(held)),
			Impact: "its handler does not return: the slot is lost, and the message waits",
			Target: Target{Worker: w.ID, Program: w.Program, Queue: h.Queue},
		})
	}
	return found
}

// enough is how many messages a failure rate needs to mean something.
const enough = 20

func failureRateRule() Rule {
	return Rule{
		Name: RuleFailureRate, About: "The share of a program's attempts that failed, within five minutes.", Unit: Share,
		Warning: 0.5, Critical: 0.9, For: time.Minute, Clear: 2 * time.Minute,
		Action: NoAction, Actions: []ActionKind{NoAction, PauseQueue}, needs: []piece{ofWorkers}, judge: judgeFailureRate,
		calm: func(_ Reading, past Past) string {
			for program := range past.Flows {
				if handled, _ := past.flow(program); handled >= enough {
					return "most attempts succeed"
				}
			}
			return "too few attempts are known to tell"
		},
	}
}

func judgeFailureRate(r Reading, past Past, _ Rule) []Finding {
	var found []Finding
	for program := range past.Flows {
		handled, failed := past.flow(program)
		if handled < enough {
			continue
		}
		found = append(found, Finding{
			Subject: program, Value: float64(failed) / float64(handled), Try: "failed groups",
			Text:   fmt.Sprintf("%d of the last %d attempts of %s failed", failed, handled, program),
			Impact: "messages use up their retries and become dead letters",
			Target: Target{Program: program, Queue: onlyQueue(r, program)},
		})
	}
	return found
}

// onlyQueue is the queue of a program that has just one, else "": nobody knows
// which of several fails.
func onlyQueue(r Reading, program string) string {
	queues := map[string]bool{}
	for _, w := range r.Workers.Value {
		for _, q := range w.Queues {
			if w.Program == program {
				queues[q] = true
			}
		}
	}
	for q := range queues {
		if len(queues) == 1 {
			return q
		}
	}
	return ""
}

func crashLoopRule() Rule {
	return Rule{
		Name: RuleCrashLoop, About: "How many processes of a program ended by themselves or fell silent, within ten minutes.",
		Unit: Count, Warning: 2, Critical: 5, For: 0, Clear: 5 * time.Minute, needs: []piece{ofPrograms, ofWorkers},
		judge: judgeCrashLoop,
		calm:  func(Reading, Past) string { return "processes last" },
	}
}

// judgeCrashLoop takes what the supervisor of this host counted, and the rows of
// workers that fell silent without a farewell. A supervisor removes the row of a
// process that has ended, so the two do not count the same one.
func judgeCrashLoop(r Reading, _ Past, _ Rule) []Finding {
	silent := map[string]int{}
	for _, w := range r.Workers.Value {
		if age := r.At.Sub(w.Seen); age > Silence && age <= RestartsWithin+Silence {
			silent[w.Program+"@"+w.Host]++
		}
	}
	var found []Finding
	for subject, n := range silent {
		found = append(found, ended(subject, n, ""))
	}
	for _, p := range r.Programs.Value {
		f := ended(p.Name, p.Restarts, p.LastExit)
		f.Local = true
		found = append(found, f)
	}
	return found
}

func ended(subject string, n int, exit string) Finding {
	text := fmt.Sprintf("%s of processes of %s within %s that nobody asked for",
		plural(int64(n), "end"), subject, span(RestartsWithin))
	if exit != "" {
		text += ", the last one by " + exit
	}
	program, _, _ := strings.Cut(subject, "@")
	return Finding{
		Subject: subject, Value: float64(n), Text: text, Try: "workers list", Target: Target{Program: program},
		Impact: "what they had in hand runs again, and capacity is missing meanwhile",
	}
}

func memoryRule() Rule {
	return Rule{
		Name: RuleMemory, About: "The share of its memory limit that a worker's process has taken.", Unit: Share,
		Warning: 0.95, Critical: 1.1, For: 2 * time.Minute, Clear: time.Minute,
		Action: RestartWorker, Actions: []ActionKind{NoAction, RestartWorker, RollingRestart},
		needs: []piece{ofWorkers}, judge: judgeMemory,
		calm: func(Reading, Past) string { return "below their limits" },
	}
}

// judgeMemory looks at living workers. One at its limit recycles by itself; one
// that stays beyond it for long does not.
func judgeMemory(r Reading, _ Past, _ Rule) []Finding {
	var found []Finding
	for _, w := range r.alive() {
		if w.MemoryLimit <= 0 {
			continue
		}
		found = append(found, Finding{
			Subject: w.ID, Value: float64(w.RSS) / float64(w.MemoryLimit), Try: "restart-workers --id " + w.ID,
			Text: fmt.Sprintf("worker %s (%s on %s) has taken %s of the %s that are its limit", w.ID, w.Program, w.Host,
				size(w.RSS), size(w.MemoryLimit)),
			Impact: "the system may kill it, and what it has in hand runs again",
			Target: Target{Worker: w.ID, Program: w.Program},
		})
	}
	return found
}
