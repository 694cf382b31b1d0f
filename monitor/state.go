package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// StateVersion is the version of the document that Encode writes.
const StateVersion = 1

// ErrState: the document is not one that this program can read.
var ErrState = errors.New("monitor's document cannot be read")

// A State is what a monitor remembers between two readings. It is a value: Step
// makes a new one. Two monitors of one store share it.
type State struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`              // of the newest reading
	Blind   []string  `json:"blind,omitempty"` // what the newest reading did not know
	Tracks  []Track   `json:"tracks,omitempty"`
	Past    Past      `json:"past"`
	Ledger  []Action  `json:"ledger,omitempty"` // of the last hour, oldest first
}

// A Condition is something that is wrong, and has been for long enough.
type Condition struct {
	Name      string    `json:"name"` // of the rule
	Subject   string    `json:"subject,omitempty"`
	Host      string    `json:"host,omitempty"` // if it is about one host
	Level     Level     `json:"level"`
	Since     time.Time `json:"since"` // when it came to be other than ok
	Text      string    `json:"text"`
	Impact    string    `json:"impact,omitempty"`
	Try       string    `json:"try,omitempty"` // the command to run next, without the program's name
	Value     float64   `json:"value"`
	Threshold float64   `json:"threshold"`
}

// A Track follows one subject of one rule while its level is not ok, or is not
// seen as ok.
type Track struct {
	Condition               // what is told; its level is ok while it only may become worse
	Seen      Level         `json:"seen"`           // at the last reading
	Want      Level         `json:"want"`           // what will be told when it has been seen for long enough
	Held      time.Duration `json:"held,omitempty"` // for how long
	Judged    time.Time     `json:"judged"`         // the last reading that could judge it
	Target    Target        `json:"target"`
}

// key tells tracks apart.
type key struct{ rule, host, subject string }

func (t Track) key() key { return key{t.Name, t.Host, t.Subject} }

// A Transition is a change of what is told about a condition.
type Transition struct {
	Condition
	From Level     `json:"from"`
	At   time.Time `json:"at"`
}

// Encode writes the state as JSON.
func (s State) Encode() ([]byte, error) {
	s.Version = StateVersion
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode monitor's document: %w", err)
	}
	return body, nil
}

// Decode reads what Encode wrote; nothing is a fresh state. The error is
// ErrState: a document of a newer program must not be written over.
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

// Conditions lists what is told to be wrong, the worst first, then the longest.
func (s State) Conditions() []Condition {
	var out []Condition
	for _, t := range s.Tracks {
		if t.Level != OK {
			out = append(out, t.Condition)
		}
	}
	rank(out)
	return out
}
