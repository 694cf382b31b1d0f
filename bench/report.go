package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// notYet stands in place of a figure that Posthorn is going to have.
const notYet = "not there yet"

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
	m := d.Machine
	fmt.Fprintf(b, "Measured on %s: %s, %s of memory, %s; %s; servers on the same machine; ",
		m.Date, m.CPU, m.Memory, m.Place, m.Go)
	fmt.Fprintf(b, "200-byte JSON bodies; load average %s at the start and %s at the end. ", m.LoadBefore, m.LoadAfter)
	fmt.Fprintf(b, "Medians of %d interleaved round(s); ratios are medians of the rounds' ratios.\n\n", d.Rounds)
	if d.Mode == modeQuick {
		b.WriteString("**A quick run: it shows that everything works, its figures mean nothing.**\n\n")
	}
	for _, why := range d.Skipped {
		fmt.Fprintf(b, "%s.\n\n", why)
	}
	for _, why := range d.Failed {
		fmt.Fprintf(b, "**Failed:** %s.\n\n", why)
	}
}

// figures are the tables of medians, one for each store.
func (d document) figures(b *strings.Builder) {
	for _, s := range d.Stores {
		d.table(b, s)
		b.WriteString("\n")
	}
}

func (d document) table(b *strings.Builder, at shownStore) {
	head, rule := "| "+at.Title+" |", "| --- |"
	for _, s := range at.Systems {
		head, rule = head+" "+s.Title+" |", rule+" ---: |"
	}
	if at.Raw {
		head, rule = head+" limit of the machine |", rule+" ---: |"
	}
	fmt.Fprintf(b, "%s\n%s\n", head, rule)
	for _, w := range d.Works {
		for _, f := range w.Figures {
			d.row(b, at, one{work: w.Name, key: f.Key}, f)
		}
	}
}

// row is a figure of all systems, if one of them has it.
func (d document) row(b *strings.Builder, at shownStore, o one, f figure) {
	var cells []string
	for _, s := range at.Systems {
		o.subject = subject{at.Name, s.Name}
		if slices.Contains(s.Pending, o.work) {
			cells = append(cells, notYet)
			continue
		}
		cells = append(cells, cell(f, d.results.median(o)))
	}
	if at.Raw {
		o.subject = subject{at.Name, rawName}
		cells = append(cells, cell(f, d.results.median(o)))
	}
	if slices.ContainsFunc(cells, func(c string) bool { return c != nothing }) {
		fmt.Fprintf(b, "| %s | %s |\n", f.Title, strings.Join(cells, " | "))
	}
}

// nothing stands in place of what was not measured.
const nothing = "–"

func cell(f figure, v float64) string {
	if math.IsNaN(v) {
		return nothing
	}
	return f.Unit.text(v)
}

// A reached goal is a goal and what was measured.
type reached struct {
	goal
	value   float64
	verdict string
}

// reached lists the goals, without those that were not asked for.
func (d document) reached() []reached {
	var all []reached
	for _, g := range goals() {
		r := reached{goal: g, value: g.measured(d.results)}
		if r.verdict = g.verdict(r.value); math.IsNaN(r.value) {
			if !d.pending(g) {
				continue
			}
			r.verdict = notYet
		}
		all = append(all, r)
	}
	return all
}

// pending reports whether a goal is about what does not exist yet.
func (d document) pending(g goal) bool {
	if !slices.ContainsFunc(d.Works, func(w shownWork) bool { return w.Name == g.work }) {
		return false
	}
	return slices.ContainsFunc(d.Stores, func(at shownStore) bool {
		return at.Name == g.store && slices.ContainsFunc(at.Systems, func(s shownSystem) bool {
			return s.Name == ours && slices.Contains(s.Pending, g.work)
		})
	})
}

// against says what a goal is measured by.
func (g goal) against() string {
	switch {
	case g.peer == "" && g.least:
		return "at least"
	case g.peer == "":
		return "at most"
	case g.peer == rawName:
		return "limit of the machine"
	case g.peerWork != "":
		return g.peer + ", " + g.peerWork
	}
	return g.peer
}

// goals is the table of goals.
func (d document) goals(b *strings.Builder) {
	all := d.reached()
	if len(all) == 0 {
		return
	}
	b.WriteString("| goal of Posthorn | against | measured | floor | summit | reached |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | --- |\n")
	for _, r := range all {
		fmt.Fprintf(b, "| %s: %s | %s | %s | %s | %s | %s |\n",
			r.store, r.title, r.against(), r.text(r.value), r.mark(r.floor), r.mark(r.summit), r.verdict)
	}
	b.WriteString("\n")
}

// settings says how each store and each system is set.
func (d document) settings(b *strings.Builder) {
	raw := false
	for _, at := range d.Stores {
		fmt.Fprintf(b, "**%s** %s. %s.\n\n", at.Title, at.Said, at.Notes)
		for _, s := range at.Systems {
			s.line(b)
		}
		b.WriteString("\n")
		raw = raw || at.Raw
	}
	if raw {
		b.WriteString("Limit of the machine: a bare table with one index on what is ready; from as many callers as the " +
			"work has, one INSERT a commit; 1000 INSERTs a commit; claim 500 (commit) and delete them (commit); at 100 messages/s, one INSERT (commit) " +
			"and one claim (commit) after it, in one process, that nobody has to wake.\n")
	}
}

func (s shownSystem) line(b *strings.Builder) {
	fmt.Fprintf(b, "- %s (%s %s): %s; backlog %d", s.Title, s.Module, s.Version, s.Settings, s.Backlog)
	if s.BacklogTx != s.Backlog {
		fmt.Fprintf(b, ", with the INSERT %d", s.BacklogTx)
	}
	if s.Lacks != "" {
		b.WriteString("; " + s.Lacks)
	}
	b.WriteString(".\n")
}
