package guarantee

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/runs"
)

// A document is what a check writes as JSON: a list of runs, or the report of torture.
type document struct {
	Report struct {
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
	} `json:"report"`
}

// Decode reads the runs of a check: a record, or what torture -o json says. All findings
// of torture count against each of its faults, since it injects them into one load.
func Decode(text []byte) (rs []runs.Run, err error) {
	if err := json.Unmarshal(text, &rs); err == nil {
		return rs, nil
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil || d.Report.Store == "" {
		return nil, fmt.Errorf("neither a record of runs nor a report of torture: %w", err)
	}
	for _, f := range d.Report.Faults {
		if f.Injected == 0 {
			continue
		}
		rs = append(rs, runs.Run{
			Check: "torture", Fault: f.Fault, Store: d.Report.Store, Class: d.Report.Durability, Times: f.Injected,
			Accepted: d.Report.Messages.Accepted, Broken: len(d.Report.Findings), Worst: f.Worst, Host: d.Report.Host,
		})
	}
	return rs, nil
}
