package guarantee

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/runs"
)

// A document is what a check writes as JSON: a list of runs, or the report of torture.
type document struct {
	Summary struct {
		Report report `json:"report"`
	} `json:"summary"`
}

// A report is what is read of torture's.
type report struct {
	Store      string            `json:"store"`
	Durability driver.Durability `json:"durability"`
	Messages   struct {
		Accepted int `json:"accepted"`
	} `json:"messages"`
	Faults []struct {
		Fault    string        `json:"fault"`
		Injected int           `json:"injected"`
		Worst    time.Duration `json:"worst_ns"`
	} `json:"faults"`
	Findings []json.RawMessage `json:"findings"`
	Host     runs.Host         `json:"host"`
}

// errNoReport: it is neither a record of runs nor a report of torture.
var errNoReport = errors.New("neither a record of runs nor a report of torture")

// Decode reads the runs of a check: a record, or what torture -o json says. All findings
// of torture count against each of its faults, since it injects them into one load.
func Decode(text []byte) (rs []runs.Run, err error) {
	if err := json.Unmarshal(text, &rs); err == nil {
		return rs, nil
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	r := d.Summary.Report
	if r.Store == "" {
		return nil, errNoReport
	}
	for _, f := range r.Faults {
		if f.Injected == 0 {
			continue
		}
		rs = append(rs, runs.Run{
			Check: "torture", Fault: f.Fault, Store: r.Store, Class: r.Durability, Times: f.Injected,
			Accepted: r.Messages.Accepted, Broken: len(r.Findings), Worst: f.Worst, Host: r.Host,
		})
	}
	return rs, nil
}
