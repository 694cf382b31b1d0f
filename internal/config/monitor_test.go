package config_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// ruleOf is a rule of a configuration.
func ruleOf(t *testing.T, c *config.Config, name string) monitor.Rule {
	t.Helper()
	i := slices.IndexFunc(c.Monitor.Rules, func(r monitor.Rule) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("there is no rule %s", name)
	}
	return c.Monitor.Rules[i]
}

func TestTheDefaultRulesAreThoseOfThePack(t *testing.T) {
	c := parse(t, "")
	for _, want := range monitor.Pack() {
		got := ruleOf(t, c, want.Name)
		same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
		if got.Off || got.For != want.For || !same(got.Warning, want.Warning) || !same(got.Critical, want.Critical) {
			t.Errorf("%s is %+v, want %+v", want.Name, got, want)
		}
		if len(want.Actions) > 0 && got.Action != want.Action {
			t.Errorf("%s does %q, want %q", want.Name, got.Action, want.Action)
		}
	}
	m := c.Monitor
	if !m.Enabled || m.Every != 30*time.Second || m.Listen != "" || m.Budget.Off || m.Budget.PerHour != 6 {
		t.Errorf("the monitor is %+v", m)
	}
}

func TestRulesAreConfigured(t *testing.T) {
	c := parse(t, `
health: {max_failed: 7, listen: "localhost:8090"}
monitor:
  enabled: false
  every: 10s
  budget: {per_hour: 0}
  rules:
    oldest: {warning: 5m, critical: 10m, for: 2m}
    disk: {warning: 1GiB, critical: 100MiB}
    connections: {warning: 0.5}
    failure_rate: {action: pause_queue}
    paused: {enabled: false}
`)
	if r := ruleOf(t, c, "oldest"); r.Warning != 300 || r.Critical != 600 || r.For != 2*time.Minute {
		t.Errorf("oldest is %+v", r)
	}
	if r := ruleOf(t, c, "disk"); r.Warning != 1<<30 || r.Critical != 100<<20 {
		t.Errorf("disk is %+v", r)
	}
	if r := ruleOf(t, c, "failed"); r.Critical != 7 {
		t.Errorf("health.max_failed is not heeded: %+v", r)
	}
	if !ruleOf(t, c, "paused").Off || ruleOf(t, c, "failure_rate").Action != monitor.PauseQueue {
		t.Errorf("rules are %+v", c.Monitor.Rules)
	}
	if m := c.Monitor; m.Enabled || !m.Budget.Off || m.Every != 10*time.Second || m.Listen != "localhost:8090" {
		t.Errorf("the monitor is %+v", m)
	}
	c = parse(t, "health: {max_failed: 7}\nmonitor: {rules: {failed: {critical: 9}}}")
	if r := ruleOf(t, c, "failed"); r.Critical != 9 {
		t.Errorf("the rule's own threshold does not win: %+v", r)
	}
}

func TestAMonitorThatMakesNoSenseIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"health: {listen: '0.0.0.0:80'}":                            "asks for no password",
		"health: {listen: ':80'}":                                   "asks for no password",
		"health: {listen: 'example.org:80'}":                        "asks for no password",
		"health: {listen: '127.0.0.1'}":                             "is not an address",
		"health: {listen: '127.0.0.1:http'}":                        "is not a port",
		"monitor: {rules: {oldest: {warning: 2h, critical: 1h}}}":   "before the warning",
		"monitor: {rules: {disk: {warning: 1MiB, critical: 2MiB}}}": "before the warning",
		"monitor: {rules: {oldest: {warning: 15}}}":                 "no unit",
		"monitor: {rules: {oldst: {warning: 15m}}}":                 "oldst",
		"monitor: {rules: {paused: {warning: 1}}}":                  "has no key `warning`",
		"monitor: {rules: {paused: {enabled: maybe}}}":              "neither true nor false",
		"monitor: {rules: {stuck: {action: pause_queue}}}":          "none of",
		"monitor: {every: 0s}":                                      "below",
	} {
		_, err := config.Parse(config.Source{File: "f", Lookup: env()}, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, address := range []string{"[::1]:80", "127.8.0.1:1", "localhost:0"} {
		if err := config.CheckLoopback(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
