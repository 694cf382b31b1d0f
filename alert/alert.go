// Package alert lets the monitor's conditions arrive where people look: by mail, in a chat,
// at a webhook, in Alertmanager.
//
// [Step] and [State.Settle] are pure: they say what is to be told to whom, once for each
// alert and channel, and again after a while. The [State] is a document that all monitors of
// a store share, so that one of them tells. A [Courier] joins them with the channels. Nobody
// who monitors or handles messages ever waits for a receiver.
package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/monitor"
)

// An Event is what a notice tells of an alert.
type Event string

// The events.
const (
	Firing   Event = "firing"   // it has begun
	Worse    Event = "worse"    // its level has risen since it was told last
	Again    Event = "again"    // it still lasts
	Resolved Event = "resolved" // it has ended
	Test     Event = "test"     // nothing is wrong: somebody tries whether notices arrive
)

// A Notice is one event for one channel.
type Notice struct {
	ID        string // of the alert
	Channel   string
	Event     Event
	Condition monitor.Condition
	Was       monitor.Level // as the channel was told last; OK: it was told nothing yet
	Ended     time.Time     // zero while it lasts
	At        time.Time     // when the notice was due, by the store's clock
}

// Settings are what decides about the notices of a channel. Zero fields have defaults.
type Settings struct {
	Name   string
	Least  monitor.Level // that is told; 0 means Warning
	Repeat time.Duration // until a standing alert is told again; 0 means DefaultRepeat
	Once   bool          // ends are not told
}

// DefaultRepeat is after how long a standing alert is told again.
const DefaultRepeat = 4 * time.Hour

// withDefaults fills in the documented defaults.
func (c Settings) withDefaults() Settings {
	c.Least = cmp.Or(c.Least, monitor.Warning)
	c.Repeat = cmp.Or(c.Repeat, DefaultRepeat)
	return c
}

// An Alert is a condition from its beginning until everybody knows of its end.
type Alert struct {
	ID        string             `json:"id"`
	Condition monitor.Condition  `json:"condition"` // as it was seen last
	Opened    time.Time          `json:"opened"`
	Ended     time.Time          `json:"ended,omitzero"`
	Receipts  map[string]Receipt `json:"receipts,omitempty"` // by channel
}

// A Receipt is what one channel was told of one alert. Who sends holds it: the others wait
// until then.
type Receipt struct {
	Owed  bool          `json:"owed,omitempty"` // it had to be told at some time
	Told  Event         `json:"told,omitempty"` // Firing or Resolved: what has arrived last
	Level monitor.Level `json:"level"`          // that has arrived last
	At    time.Time     `json:"at,omitzero"`    // when it arrived

	Tries   int       `json:"tries,omitempty"` // that failed in a row
	Failing time.Time `json:"failing,omitzero"`
	Next    time.Time `json:"next,omitzero"` // the next try, not before
	Error   string    `json:"error,omitempty"`

	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// key tells conditions apart.
type key struct{ rule, host, subject string }

func keyOf(c monitor.Condition) key { return key{c.Name, c.Host, c.Subject} }

// open makes an alert of a condition.
func open(c monitor.Condition, at time.Time) Alert {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", c.Name, c.Host, c.Subject, at.UnixNano()))
	return Alert{ID: hex.EncodeToString(sum[:8]), Condition: c, Opened: at, Receipts: map[string]Receipt{}}
}

// ended reports whether the alert is over.
func (a Alert) ended() bool { return !a.Ended.IsZero() }

// pending is what a channel has yet to be told; a silence covers an alert that lasts. That a
// channel does not work is not told to itself.
func (a Alert) pending(c Settings, silenced bool, now time.Time) (e Event, ok bool) {
	r := a.Receipts[c.Name]
	own := a.Condition.Name == monitor.RuleUndelivered && a.Condition.Subject == c.Name
	told := r.Told == Firing
	switch {
	case own || r.Told == Resolved:
		return "", false
	case a.ended():
		return Resolved, told && !c.Once || !told && r.Owed
	case silenced:
		return "", false
	case !told:
		return Firing, a.Condition.Level >= c.Least
	case a.Condition.Level > r.Level:
		return Worse, true
	default:
		return Again, now.Sub(r.At) >= c.Repeat
	}
}

// finished reports whether nobody has to be told anything more of an alert that is over,
// whichever channels a host knows.
func (a Alert) finished(channels []Settings, now time.Time) bool {
	if !a.ended() {
		return false
	}
	for _, c := range channels {
		if _, more := a.pending(c.withDefaults(), false, now); more {
			return false
		}
	}
	for name, r := range a.Receipts {
		known := false
		for _, c := range channels {
			known = known || c.Name == name
		}
		if !known && r.Owed && r.Told != Resolved { // another host may know it
			return false
		}
	}
	return true
}
