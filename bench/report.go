package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
)

// A document is what the tables show.
type document struct {
	machine machine
	rig     *rig
	results results
	quick   bool
}

// write writes the results as Markdown.
func (d document) write(w io.Writer) error {
	var b strings.Builder
	d.header(&b)
	for _, s := range d.rig.sites {
		d.figures(&b, s)
	}
	d.goals(&b)
	d.settings(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// header says where and how it was measured.
func (d document) header(b *strings.Builder) {
	m := d.machine
	fmt.Fprintf(b, "Measured on %s: %s, %s of memory, %s; %s/%s, %s; servers on the same machine; ",
		m.date, m.cpu, m.memory, m.place, runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(b, "200-byte JSON bodies; load average %s at the start and %s at the end. ", m.load, loadAverage())
	fmt.Fprintf(b, "Medians of %d interleaved round(s); ratios are medians of the rounds' ratios.\n\n", d.rig.rounds)
	if d.quick {
		b.WriteString("**A quick run: it shows that everything works, its figures mean nothing.**\n\n")
	}
}

// figures is the table of medians on one kind of store.
func (d document) figures(b *strings.Builder, at *site) {
	head, rule := "| "+at.title+" |", "| --- |"
	columns := []subject{}
	for _, s := range d.rig.on(at.kind) {
		head, rule, columns = head+" "+s.title+" |", rule+" ---: |", append(columns, s.subject)
	}
	if d.rig.rawToo {
		head, rule = head+" limit of the machine |", rule+" ---: |"
		columns = append(columns, subject{at.name, rawName})
	}
	fmt.Fprintf(b, "%s\n%s\n", head, rule)
	for _, w := range d.rig.works {
		for _, f := range w.figures {
			d.row(b, w, f, columns)
		}
	}
	b.WriteString("\n")
}

func (d document) row(b *strings.Builder, w work, f figure, columns []subject) {
	fmt.Fprintf(b, "| %s |", f.title)
	for _, s := range columns {
		if v := d.results.median(w.name, f.key, s); math.IsNaN(v) {
			b.WriteString(" – |")
		} else {
			fmt.Fprintf(b, " %s |", f.unit.text(v))
		}
	}
	b.WriteString("\n")
}

// goals is the table of goals, without those that were not measured.
func (d document) goals(b *strings.Builder) {
	var rows []string
	for _, g := range goals() {
		v := g.measured(d.results)
		if math.IsNaN(v) {
			continue
		}
		against := "bound"
		if g.peer != "" {
			against = g.peer
		}
		rows = append(rows, fmt.Sprintf("| %s: %s | %s | %s | %s | %s | %s |\n",
			g.store, g.title, against, g.text(v), g.mark(g.floor), g.mark(g.summit), g.verdict(v)))
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("| goal of Posthorn | against | measured | floor | summit | reached |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | --- |\n")
	b.WriteString(strings.Join(rows, "") + "\n")
}

// settings says how each store and each system is set.
func (d document) settings(b *strings.Builder) {
	for _, at := range d.rig.sites {
		fmt.Fprintf(b, "**%s** %s. %s.\n\n", at.title, at.said, at.notes)
		for _, s := range d.rig.on(at.kind) {
			fmt.Fprintf(b, "- %s (%s %s): %s; backlog %d, with the INSERT %d", s.title, s.module, version(s.module),
				s.settings, d.rig.backlog(s, load{}), d.rig.backlog(s, load{insert: true}))
			if s.lacks != "" {
				b.WriteString("; " + s.lacks)
			}
			b.WriteString(".\n")
		}
		b.WriteString("\n")
	}
	if d.rig.rawToo {
		b.WriteString("Limit of the machine: a bare table with one index on what is ready; from as many callers as the " +
			"work has, one INSERT a commit; 1000 INSERTs a commit; claim 500 (commit) and delete them (commit).\n")
	}
}
