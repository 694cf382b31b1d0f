// Package monitor is the one judgement of a Posthorn installation: readings
// become findings by rules, findings that last become conditions, and some
// conditions lead to actions under a budget. Health, status, probes, alerts and
// metrics all show its conditions, so they cannot disagree.
//
// Rules and the [Engine] are pure: a [State] and a [Reading] give the next
// State. A [Gatherer] makes readings, and a [Monitor] joins them in a loop.
package monitor

import (
	"fmt"
	"slices"
)

// A Level is how bad something is. The order counts: what is unknown is worse
// than a warning, and never counts as good.
type Level int

// The levels.
const (
	OK Level = iota
	Warning
	Unknown
	Critical
)

// levelNames are the levels' names, in their order.
func levelNames() []string { return []string{"ok", "warning", "unknown", "critical"} }

// String is the level in small letters.
func (l Level) String() string {
	if names := levelNames(); l >= 0 && int(l) < len(names) {
		return names[l]
	}
	return "unknown"
}

// MarshalText is the level in small letters.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levelNames(), string(text))
	if i < 0 {
		return fmt.Errorf("read level: there is no %q", text)
	}
	*l = Level(i)
	return nil
}
