package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
)

// A document is what the table shows.
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
	d.figures(&b)
	d.goals(&b)
	d.settings(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// header says where and how it was measured.
func (d document) header(b *strings.Builder) {
	m := d.machine
	fmt.Fprintf(b, "Measured on %s: %s, %s of memory, %s; %s/%s, %s; SQLite %s (modernc.org/sqlite %s), ",
		m.date, m.cpu, m.memory, m.place, runtime.GOOS, runtime.GOARCH, runtime.Version(), m.engine,
		version("modernc.org/sqlite"))
	fmt.Fprintf(b, "WAL, `synchronous=FULL`; 200-byte JSON bodies; load average %s at the start and %s at the end. ",
		m.load, loadAverage())
	fmt.Fprintf(b, "Medians of %d interleaved round(s); ratios are medians of the rounds' ratios.\n\n", d.rig.rounds)
	if d.quick {
		b.WriteString("**A quick run: it shows that everything works, its figures mean nothing.**\n\n")
	}
}

// figures is the table of medians.
func (d document) figures(b *strings.Builder) {
	head, rule := "| work |", "| --- |"
	names := []string{}
	for _, s := range d.rig.systems {
		head, rule, names = head+" "+s.title+" |", rule+" ---: |", append(names, s.name)
	}
	if d.rig.rawToo {
		head, rule, names = head+" limit of the machine |", rule+" ---: |", append(names, rawName)
	}
	fmt.Fprintf(b, "%s\n%s\n", head, rule)
	for _, w := range d.rig.works {
		for _, f := range w.figures {
			d.row(b, w, f, names)
		}
	}
	b.WriteString("\n")
}

func (d document) row(b *strings.Builder, w work, f figure, names []string) {
	fmt.Fprintf(b, "| %s |", f.title)
	for _, name := range names {
		if v := d.results.median(w.name, f.key, name); math.IsNaN(v) {
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
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n",
			g.title, against, g.text(v), g.mark(g.floor), g.mark(g.summit), g.verdict(v)))
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("| goal of Posthorn | against | measured | floor | summit | reached |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | --- |\n")
	b.WriteString(strings.Join(rows, "") + "\n")
}

func (d document) settings(b *strings.Builder) {
	b.WriteString("All use the same SQLite driver; the peers have one connection, with Posthorn's pragmas.\n\n")
	for _, s := range d.rig.systems {
		fmt.Fprintf(b, "- %s (%s %s): %s", s.title, s.module, version(s.module), s.settings)
		if s.lacks != "" {
			b.WriteString("; " + s.lacks)
		}
		b.WriteString(".\n")
	}
	if d.rig.rawToo {
		b.WriteString("- Limit of the machine: a bare table with one partial index, prepared statements, one " +
			"connection: one INSERT a commit; 1000 INSERTs a commit; claim 500 (commit) and delete them one by " +
			"one (commit).\n")
	}
}
