package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A document is all that the tables show. It is recorded with the runs, so that
// they can be shown again without measuring.
type document struct {
	Machine machine      `json:"machine"`
	Mode    string       `json:"mode"`
	Rounds  int          `json:"rounds"`
	Works   []shownWork  `json:"works"`
	Stores  []shownStore `json:"stores"`
	Skipped []string     `json:"skipped,omitempty"`
	Failed  []string     `json:"failed,omitempty"` // runs, and why
	results results
}

// The modes.
const (
	modeQuick = "quick"
	modeUsual = "usual"
	modeFull  = "full"
)

// A shownWork is a work that was asked for.
type shownWork struct {
	Name    string   `json:"name"`
	Figures []figure `json:"figures"`
}

// A shownStore is a store, and what was measured there.
type shownStore struct {
	Name    string        `json:"name"`
	Title   string        `json:"title"`
	Said    string        `json:"said"` // by the database, of its version and settings
	Notes   string        `json:"notes"`
	Raw     bool          `json:"raw"` // the limit of the machine was measured, too
	Systems []shownSystem `json:"systems"`
}

// A shownSystem is how a system was set.
type shownSystem struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	Module    string   `json:"module"`
	Version   string   `json:"version"`
	Settings  string   `json:"settings"`
	Lacks     string   `json:"lacks,omitempty"`
	Backlog   int      `json:"backlog"`
	BacklogTx int      `json:"backlog_tx"`
	Pending   []string `json:"pending,omitempty"` // works that it will offer
}

// document describes what the rig has found.
func (r *rig) document(m machine, found results) document {
	d := document{Machine: m, Mode: r.mode, Rounds: r.rounds, Skipped: r.skipped, results: found}
	for _, err := range r.failed {
		first, _, _ := strings.Cut(err.Error(), "\n") // a worker process may have said much
		d.Failed = append(d.Failed, first)
	}
	for _, w := range r.works {
		d.Works = append(d.Works, shownWork{w.name, w.figures})
	}
	for _, at := range r.sites {
		s := shownStore{Name: at.name, Title: at.title, Said: at.said, Notes: at.notes, Raw: r.rawToo && at.bare != nil}
		for _, sys := range r.on(at.kind) {
			s.Systems = append(s.Systems, shownSystem{
				Name: sys.System, Title: sys.title, Module: sys.module, Version: version(sys.module),
				Settings: sys.settings, Lacks: sys.lacks, Pending: sys.pending,
				Backlog: r.backlog(sys, load{}), BacklogTx: r.backlog(sys, load{insert: true}),
			})
		}
		d.Stores = append(d.Stores, s)
	}
	return d
}

// A lastLine of a record has what the runs have in common.
type lastLine struct {
	Document document `json:"document"`
}

// A recorded line is a run, or the last line.
type recorded struct {
	Document *document `json:"document"`
	result
}

// errCut is about a record without its last line.
var errCut = errors.New("the record does not end with its document: its run did not end")

// readRecord reads what was recorded.
func readRecord(from io.Reader) (document, error) {
	var found results
	for lines := json.NewDecoder(from); ; {
		var line recorded
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return document{}, errCut
		}
		if err != nil {
			return document{}, fmt.Errorf("run %d: %w", len(found)+1, err)
		}
		if line.Document != nil {
			line.Document.results = found
			return *line.Document, nil
		}
		if line.Work == "" {
			return document{}, fmt.Errorf("run %d: it is neither a run nor a document", len(found)+1)
		}
		found = append(found, line.result)
	}
}
