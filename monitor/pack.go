package monitor

import (
	"fmt"
	"strings"
	"time"
)

// The names of the default rules.
const (
	RuleStore       = "store"
	RuleWorkers     = "workers"
	RuleFailed      = "failed"
	RuleOldest      = "oldest"
	RuleProgress    = "progress"
	RuleStuck       = "stuck"
	RuleFailureRate = "failure_rate"
	RuleNewFailed   = "new_failed"
	RuleHandlers    = "handlers"
	RuleCrashLoop   = "crash_loop"
	RuleMemory      = "memory"
	RuleConnections = "connections"
	RulePools       = "pools"
	RuleClock       = "clock"
	RuleDisk        = "disk"
	RulePaused      = "paused"
	RuleReading     = "reading"
	RuleBudget      = "action_budget"
	RuleUndelivered = "alert_undelivered"
)

// Pack is the default rules. They are on without configuration.
func Pack() []Rule {
	return append([]Rule{storeRule(), workersRule(), failedRule(), oldestRule()},
		progressRule(), stuckRule(), failureRateRule(), newFailedRule(), handlersRule(), crashLoopRule(), memoryRule(),
		connectionsRule(), poolsRule(), clockRule(), diskRule(), pausedRule(), readingRule(), budgetRule(),
		undeliveredRule())
}

func storeRule() Rule {
	return Rule{
		Name: RuleStore, About: "The store answers.", Unit: Levels, For: 20 * time.Second, Clear: 30 * time.Second,
		Local: true, needs: []piece{ofStore},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			s := r.Store.Value
			if s.Reachable {
				return nil
			}
			return []Finding{{
				Value: float64(Critical), Text: s.Why, Try: s.Try,
				Impact: "no message is accepted or handled by way of this host; workers wait and come back by themselves",
			}}
		},
		calm: func(r Reading, _ Past) string {
			return fmt.Sprintf("%s, %s", r.Store.Value.Dialect, r.Store.Value.Durability)
		},
	}
}

func connectionsRule() Rule {
	return Rule{
		Name: RuleConnections, About: "The share of the store's connections that is taken.", Unit: Share,
		Warning: 0.85, Critical: 0.95, For: time.Minute, Clear: 2 * time.Minute, needs: []piece{ofServer},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			c := r.Server.Value
			if c.Most <= 0 {
				return nil
			}
			return []Finding{{
				Value: float64(c.Used) / float64(c.Most), Try: "doctor",
				Text:   fmt.Sprintf("%d of the server's %d connections are taken", c.Used, c.Most),
				Impact: "new processes cannot connect, and workers that lose a connection stay out",
			}}
		},
		calm: func(r Reading, _ Past) string {
			if r.Server.Knowledge == Absent {
				return "the store has no server"
			}
			return fmt.Sprintf("%d of %d are taken", r.Server.Value.Used, r.Server.Value.Most)
		},
	}
}

func poolsRule() Rule {
	return Rule{
		Name: RulePools, About: "How often this process had to wait for a connection of its own, between two readings.",
		Unit: Count, Warning: 100, Critical: noThreshold(), For: 2 * time.Minute, Clear: 5 * time.Minute, Local: true,
		needs: []piece{ofPools},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, p := range r.Pools.Value {
				found = append(found, Finding{
					Subject: p.Name, Value: float64(p.Waits), Try: "config explain pool",
					Text: fmt.Sprintf("%d of %d connections for %s are in use, and %d calls waited",
						p.InUse, p.Limit, p.Name, p.Waits),
					Impact: "work waits for a connection of its own process",
				})
			}
			return found
		},
		calm: func(Reading, Past) string { return "nobody waits for long" },
	}
}

func clockRule() Rule {
	return Rule{
		Name: RuleClock, About: "How far the store's clock and this host's are apart.", Unit: Seconds,
		Warning: 2, Critical: 60, For: time.Minute, Clear: 2 * time.Minute, Local: true, needs: []piece{ofClock},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			c := r.Clock.Value
			return []Finding{{
				Value: max(c.Skew.Abs()-c.Doubt, 0).Seconds(), Try: "doctor",
				Text:   fmt.Sprintf("the store's clock is %s ahead of this host's", c.Skew.Round(time.Millisecond)),
				Impact: "messages for a given moment come early or late; leases are safe",
			}}
		},
		calm: func(r Reading, _ Past) string {
			return fmt.Sprintf("%s apart", r.Clock.Value.Skew.Abs().Round(time.Millisecond))
		},
	}
}

func diskRule() Rule {
	return Rule{
		Name: RuleDisk, About: "The room on the disks of this host that Posthorn writes to.", Unit: Bytes, Below: true,
		Warning: 512 << 20, Critical: 64 << 20, For: time.Minute, Clear: 2 * time.Minute, Local: true,
		needs: []piece{ofDisks},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, d := range r.Disks.Value {
				found = append(found, Finding{
					Subject: d.For, Value: float64(d.Free), Try: "doctor",
					Text:   fmt.Sprintf("%s are free for the %s in %s", size(d.Free), d.For, d.Path),
					Impact: "when the disk is full, no message is accepted and no log line is written",
				})
			}
			return found
		},
		calm: func(r Reading, _ Past) string {
			var parts []string
			for _, d := range r.Disks.Value {
				parts = append(parts, fmt.Sprintf("%s free for the %s", size(d.Free), d.For))
			}
			return orNone(parts, "nothing is written here")
		},
	}
}

// readingRule makes what cannot be seen a condition of its own.
func readingRule() Rule {
	return Rule{
		Name: RuleReading, About: "Everything that is to be judged can be read.", Unit: Levels, Clear: 2 * time.Minute,
		Local: true,
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var names []string
			why := ""
			for _, k := range r.blind() {
				if r.away() && k.piece.ofTheStore() {
					continue // that the store is away says it all
				}
				names = append(names, string(k.piece))
				if why == "" {
					why = k.why
				}
			}
			if len(names) == 0 {
				return nil
			}
			return []Finding{{
				Value: float64(Unknown), Try: "doctor",
				Text:   "cannot read " + strings.Join(names, ", ") + ": " + orNone([]string{why}, "not read"),
				Impact: "nobody knows whether these are well",
			}}
		},
		calm: func(Reading, Past) string { return "all of it" },
	}
}

// undeliveredRule judges the way to people. A channel may hiccup.
func undeliveredRule() Rule {
	return Rule{
		Name: RuleUndelivered, About: "For how long a channel has not taken alerts.", Unit: Seconds,
		Warning: 30, Critical: 15 * 60, For: 0, Clear: 30 * time.Second, needs: []piece{ofAlerts},
		judge: func(r Reading, _ Past, _ Rule) []Finding {
			var found []Finding
			for _, u := range r.Alerts.Value {
				found = append(found, Finding{
					Subject: u.Channel, Value: u.For.Seconds(), Try: "alerts test " + u.Channel,
					Text: fmt.Sprintf("channel %s has not taken %s for %s: %s",
						u.Channel, plural(int64(u.Alerts), "alert"), span(u.For), u.Why),
					Impact: "whoever looks at this channel does not know what is wrong",
				})
			}
			return found
		},
		calm: func(r Reading, _ Past) string {
			if r.Alerts.Knowledge == Absent {
				return "no channel is configured"
			}
			return "each has arrived"
		},
	}
}

// budgetRule only describes the condition that the engine raises itself.
func budgetRule() Rule {
	return Rule{
		Name: RuleBudget, About: "Self-healing may still act.", Unit: Levels, Clear: 10 * time.Minute,
		judge: func(Reading, Past, Rule) []Finding { return nil },
		calm:  func(Reading, Past) string { return "not used up" },
	}
}

func orNone(parts []string, none string) string {
	if text := strings.Join(parts, ", "); text != "" {
		return text
	}
	return none
}

// size writes a number of bytes for people.
func size(n int64) string {
	const mega = 1 << 20
	if n >= 10<<30 {
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/mega)
}

// span writes a length of time for people: 90s as 1m30s, an hour as 1h.
func span(d time.Duration) string {
	text := d.Round(time.Second).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// plural counts things.
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
