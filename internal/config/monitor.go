package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/monitor"
)

// A Monitor says what is judged, and what is done about it.
type Monitor struct {
	Enabled bool // `up` runs a monitor
	Every   time.Duration
	Rules   []monitor.Rule
	Budget  monitor.Budget
	Listen  string // where health is served over HTTP; empty means nowhere
}

// monitorFields are the settings of the monitor. Those of its rules follow from
// the default pack, so that no rule can be without them.
func monitorFields() []Field {
	fields := []Field{
		{Pattern: "health.listen", Kind: KindText,
			Doc: "Where /healthz and /readyz are served, like 127.0.0.1:8090; loopback only, since they ask for no password."},
		{Pattern: "monitor.enabled", Kind: KindSwitch, Default: "true", Doc: "Whether `up` runs a monitor."},
		{Pattern: "monitor.every", Kind: KindDuration, Default: "30s", Min: 1e9, Max: float64(time.Hour),
			Doc: "How often the monitor reads and judges."},
		{Pattern: "monitor.budget.per_hour", Kind: KindCount, Default: "6", Max: 1000,
			Doc: "How much the monitor may do by itself within an hour; 0 means nothing. Then it alerts instead."},
		{Pattern: "monitor.budget.per_subject", Kind: KindCount, Default: "2", Min: 1, Max: 1000,
			Doc: "How much of that may be done to one worker, program or queue."},
	}
	for _, r := range monitor.Pack() {
		fields = append(fields, ruleFields(r)...)
	}
	return fields
}

// rulePrefix begins the settings of a rule.
func rulePrefix(r monitor.Rule) string { return "monitor.rules." + r.Name + "." }

func ruleFields(r monitor.Rule) []Field {
	about := strings.TrimSuffix(r.About, ".")
	fields := []Field{
		{Pattern: "enabled", Kind: KindSwitch, Default: "true", Doc: "Whether this is judged: " + about + "."},
	}
	if r.Unit != monitor.Levels {
		fields = append(fields,
			Field{Pattern: "warning", Kind: kindOf(r.Unit), Default: thresholdText(r, r.Warning),
				Doc: "From where on it is a warning: " + about + "."},
			Field{Pattern: "critical", Kind: kindOf(r.Unit), Default: thresholdText(r, r.Critical),
				Doc: "From where on it is critical: " + about + "."})
	}
	fields = append(fields, Field{Pattern: "for", Kind: KindDuration, Default: FormatDuration(r.For),
		Doc: "How long it must last before it is told: " + about + "."},
		Field{Pattern: "clear", Kind: KindDuration, Default: FormatDuration(r.Clear),
			Doc: "How long it must be over before that is told: " + about + "."})
	if len(r.Actions) > 0 {
		var choices []string
		for _, a := range r.Actions {
			choices = append(choices, string(a))
		}
		fields = append(fields, Field{Pattern: "action", Kind: KindChoice, Choices: choices,
			Default: string(cmp.Or(r.Action, monitor.NoAction)),
			Doc:     "What the monitor does by itself when it is critical: " + about + "."})
	}
	for i := range fields {
		fields[i].Pattern = rulePrefix(r) + fields[i].Pattern
	}
	return fields
}

// kindOf is how thresholds of a unit are written.
func kindOf(u monitor.Unit) Kind {
	return map[monitor.Unit]Kind{
		monitor.Count: KindCount, monitor.Share: KindFactor, monitor.Seconds: KindDuration, monitor.Bytes: KindBytes,
	}[u]
}

// noThreshold is written where a rule has no such level.
const noThreshold = "none"

func thresholdText(r monitor.Rule, v float64) string {
	switch {
	case math.IsNaN(v):
		return noThreshold
	case r.Unit == monitor.Seconds:
		return FormatDuration(time.Duration(v * float64(time.Second)))
	case r.Unit == monitor.Bytes:
		return Bytes(v).String()
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (d *decoder) monitor(maxFailed int) Monitor {
	m := Monitor{
		Enabled: pick(d, "monitor.enabled", true), Every: pick(d, "monitor.every", time.Duration(0)),
		Listen: pick(d, "health.listen", ""), Rules: monitor.Pack(), Budget: monitor.Budget{
			PerHour:    pick(d, "monitor.budget.per_hour", 0),
			PerSubject: pick(d, "monitor.budget.per_subject", 0),
		},
	}
	m.Budget.Off = m.Budget.PerHour == 0
	for i := range m.Rules {
		d.rule(&m.Rules[i])
	}
	i := slices.IndexFunc(m.Rules, func(r monitor.Rule) bool { return r.Name == monitor.RuleFailed })
	if s := d.byKey[rulePrefix(m.Rules[i])+"critical"]; s != nil && s.IsDefault() {
		m.Rules[i].Critical = float64(maxFailed) // health.max_failed is its older name
	}
	return m
}

// rule reads the settings of one rule.
func (d *decoder) rule(r *monitor.Rule) {
	key := rulePrefix(*r)
	r.Off = !pick(d, key+"enabled", true)
	r.For, r.Clear = pick(d, key+"for", r.For), pick(d, key+"clear", r.Clear)
	r.Action = monitor.ActionKind(pick(d, key+"action", string(r.Action)))
	r.Warning, r.Critical = d.threshold(key+"warning", r.Warning), d.threshold(key+"critical", r.Critical)
}

// threshold is a number of any kind as rules have it.
func (d *decoder) threshold(key string, def float64) float64 {
	s := d.byKey[key]
	if s == nil {
		return def
	}
	switch v := s.value.(type) {
	case int:
		return float64(v)
	case float64:
		return v
	case time.Duration:
		return v.Seconds()
	case Bytes:
		return float64(v)
	}
	return def
}

// checkMonitor finds what is wrong between the monitor's settings.
func (d *decoder) checkMonitor(m Monitor) {
	if s := d.byKey["health.listen"]; m.Listen != "" {
		if err := CheckLoopback(m.Listen); err != nil {
			d.bad(s, s.at, err)
		}
	}
	for _, r := range m.Rules {
		if s := d.byKey[rulePrefix(r)+"critical"]; s != nil && wrongWay(r) {
			d.bad(s, s.at, fmt.Errorf("it is reached before the warning, %s", d.byKey[rulePrefix(r)+"warning"].Value))
		}
	}
}

// wrongWay reports whether a rule is critical before it warns.
func wrongWay(r monitor.Rule) bool {
	if r.Below {
		return r.Critical > r.Warning
	}
	return r.Critical < r.Warning
}

// CheckLoopback refuses an address that others than this host can reach, and
// one that is none.
func CheckLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address like 127.0.0.1:8090", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port", port)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("others than this host could reach it, and it asks for no password: " +
		"let it listen on 127.0.0.1, and put a proxy before it")
}
