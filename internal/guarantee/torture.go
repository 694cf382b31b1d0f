package guarantee

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	Operations struct {
		Made int `json:"made"`
	} `json:"operations"`
	Processes struct {
		Executors int `json:"executors"` // that were killed
	} `json:"processes"`
	CutBefore int               `json:"commits_cut_before"`
	CutAfter  int               `json:"commits_cut_after"`
	Findings  []json.RawMessage `json:"findings"`
	Host      runs.Host         `json:"host"`
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
	base := runs.Run{
		Check: "torture", Store: r.Store, Class: r.Durability, Accepted: r.Messages.Accepted, Broken: len(r.Findings),
		Host: r.Host,
	}
	for _, f := range r.Faults {
		one := base
		one.Fault, one.Times, one.Worst = f.Fault, f.Injected, f.Worst
		rs = append(rs, one)
	}
	made := base
	made.Fault = operations
	if r.Processes.Executors+r.CutBefore+r.CutAfter > 0 { // else nothing has happened to them
		made.Times = r.Operations.Made
	}
	return slices.DeleteFunc(append(rs, made), func(r runs.Run) bool { return r.Times == 0 }), nil
}
