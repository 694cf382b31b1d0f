package alert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// StateVersion is the version of the document that Encode writes.
const StateVersion = 1

// ErrState: the document is not one that this program can read.
var ErrState = errors.New("document of alerts cannot be read")

// A State is what is remembered of alerts. It is a value: Step and Settle make new ones.
type State struct {
	Version     int       `json:"version"`
	At          time.Time `json:"at"`       // of the newest verdict that was taken in
	Revision    int64     `json:"revision"` // of the monitor's document then
	Alerts      []Alert   `json:"alerts,omitempty"`
	Silences    []Silence `json:"silences,omitempty"`
	LastSilence int       `json:"last_silence,omitempty"`
	Dropped     int64     `json:"dropped,omitempty"` // alerts whose end nobody could be told, or that were too many
}

// Encode writes the state as JSON.
func (s State) Encode() ([]byte, error) {
	s.Version = StateVersion
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode document of alerts: %w", err)
	}
	return body, nil
}

// Decode reads what Encode wrote; nothing is a fresh state. The error is ErrState: a document
// of a newer program must not be written over.
func Decode(body []byte) (State, error) {
	var s State
	if len(body) == 0 {
		return State{Version: StateVersion}, nil
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrState, err)
	}
	if s.Version != StateVersion {
		return s, fmt.Errorf("%w: its version is %d, this program knows %d", ErrState, s.Version, StateVersion)
	}
	return s, nil
}

// clone makes a state whose alerts may be changed.
func (s State) clone() State {
	s.Alerts = slices.Clone(s.Alerts)
	for i := range s.Alerts {
		s.Alerts[i].Receipts = maps.Clone(s.Alerts[i].Receipts)
		if s.Alerts[i].Receipts == nil {
			s.Alerts[i].Receipts = map[string]Receipt{}
		}
	}
	return s
}

// A Failure is a channel that does not take notices.
type Failure struct {
	Channel string
	Since   time.Time
	Notices int // that wait
	Error   string
}

// Failures lists the channels that do not take the notices that they are to have now, in
// the order of the channels.
func (s State) Failures(channels []Settings, now time.Time) []Failure {
	var out []Failure
	for _, c := range channels {
		f := Failure{Channel: c.Name}
		for _, a := range s.Alerts {
			r := a.Receipts[c.Name]
			_, silenced := s.Silenced(a.Condition, now)
			if _, more := a.pending(c.withDefaults(), silenced, now); !more || r.Tries == 0 {
				continue
			}
			f.Notices++
			if f.Since.IsZero() || r.Failing.Before(f.Since) {
				f.Since, f.Error = r.Failing, r.Error
			}
		}
		if f.Notices > 0 {
			out = append(out, f)
		}
	}
	return out
}

// adopt takes over what a host has seen and told while it was alone.
func (s State) adopt(own State, host string) State {
	s = s.clone()
	for _, a := range own.clone().Alerts {
		i := slices.IndexFunc(s.Alerts, func(b Alert) bool {
			return a.ID == b.ID || keyOf(a.Condition) == keyOf(b.Condition) && !a.ended() && !b.ended()
		})
		mine := a.Condition.Host == host
		switch {
		case i >= 0 && mine && a.ID == s.Alerts[i].ID:
			s.Alerts[i] = a
		case i >= 0:
			s.Alerts[i] = s.Alerts[i].merge(a)
		case mine || a.Opened.After(s.At): // else it is over, and everybody has been told
			s.Alerts = append(s.Alerts, a)
		}
	}
	slices.SortStableFunc(s.Alerts, func(a, b Alert) int {
		return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID))
	})
	return s
}

// merge takes the receipts of the same alert that are newer.
func (a Alert) merge(b Alert) Alert {
	for name, r := range b.Receipts {
		if r.At.After(a.Receipts[name].At) {
			a.Receipts[name] = r
		}
	}
	return a
}
