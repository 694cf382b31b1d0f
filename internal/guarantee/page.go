package guarantee

import (
	"fmt"
	"io"
	"strings"

	"github.com/posthorn/posthorn/internal/runs"
)

// head begins the page.
const head = `# Guarantees

Written by ` + "`make guarantees`" + ` from [the record of runs](guarantees.json): a cell names the test that
shows a guarantee on a store under a fault, and the figures of the last recorded run that injected the fault, with the
check that did: ` + "`posthorn torture`" + `, which anybody can repeat on a store of their own, or ` +
	"`make failpoints`, `make sweep`" + ` or ` + "`make powercuts`" + `. What has no recorded run says so; its test
runs in CI all the same. A dash says that the store cannot have the fault, or that no test has it there.

A store is *power-safe* or *process-safe* by its own settings, which Posthorn reads when it opens the store, and says
(` + "`posthorn doctor`" + `). What holds for process-safe stores holds for power-safe ones, too. S5 and S6 are about
brokers, of which there are none.
`

// Write writes the page.
func Write(w io.Writer, rs []runs.Run) error {
	var b strings.Builder
	b.WriteString(head)
	for _, g := range Guarantees() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| fault | durability |", g.ID, g.Text)
		for _, s := range stores() {
			fmt.Fprintf(&b, " %s |", title(s))
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", 2+len(stores())) + "\n")
		for _, c := range g.Cases {
			fmt.Fprintf(&b, "| **%s** %s | %s |", c.Fault, c.About, c.Class)
			for _, s := range stores() {
				fmt.Fprintf(&b, " %s |", cell(rs, c, s))
			}
			b.WriteString("\n")
		}
	}
	controls(&b, rs)
	hosts(&b, rs)
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is what is shown of a case on a store.
func cell(rs []runs.Run, c Case, store string) string {
	t, ok := c.Tests[store]
	if !ok {
		return "–"
	}
	r, ok := last(rs, c.Fault, store)
	figure := "no recorded run"
	if ok {
		figure = Figure(r)
	}
	return fmt.Sprintf("[%s](../%s)<br>%s", t.Name, t.File, figure)
}

// Figure is a run in a line.
func Figure(r runs.Run) string {
	out := fmt.Sprintf("%s: %s times, %s messages, %d lost, %d doubled, %d other findings", r.Check, thousands(r.Times),
		thousands(r.Accepted), r.Lost, r.Doubled, r.Broken)
	if r.Worst > 0 {
		out += fmt.Sprintf("; work went on within %.1f s", r.Worst.Seconds())
	}
	return out + "; " + r.Host.Time.Format("2006-01-02")
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// controls are the runs on weakened stores, which have to lose.
func controls(b *strings.Builder, rs []runs.Run) {
	b.WriteString("\n## Controls\n\nA check that cannot fail shows nothing. These runs were made to lose, by a setting " +
		"that gives durability up.\n\n| fault | store | setting | of so many acknowledged | lost |\n" +
		"| --- | --- | --- | ---: | ---: |\n")
	for _, r := range rs {
		if r.Weakened != "" {
			fmt.Fprintf(b, "| %s | %s | `%s` | %s | %s |\n", r.Fault, title(r.Store), r.Weakened,
				thousands(r.Accepted), thousands(r.Lost))
		}
	}
	b.WriteString("\n`make mutants` builds Posthorn with planted faults, and shows that torture or a test finds each.\n")
}

// hosts are where and of what the runs were.
func hosts(b *strings.Builder, rs []runs.Run) {
	b.WriteString("\n## Where\n\n| check | store | date | machine | Go | Posthorn |\n" +
		"| --- | --- | --- | --- | --- | --- |\n")
	seen := map[string]bool{}
	for _, r := range rs {
		h := r.Host
		line := fmt.Sprintf("| %s | %s | %s | %s, %d × %s | %s | %s |\n", r.Check, h.Server, h.Time.Format("2006-01-02"),
			h.System, h.CPUs, h.CPU, strings.TrimPrefix(h.Go, "go"), h.Commit)
		if !seen[line] {
			b.WriteString(line)
		}
		seen[line] = true
	}
}
