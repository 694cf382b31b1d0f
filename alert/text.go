package alert

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/monitor"
)

// Title says in one line what a notice is about. It is safe to show.
func (n Notice) Title() string {
	words := []string{n.Condition.Level.String() + ":"}
	switch n.Event {
	case Resolved, Test:
		words[0] = string(n.Event) + ":"
	case Again:
		words[0] = "still " + words[0]
	}
	words = append(words, n.Condition.Name)
	if n.Condition.Subject != "" {
		words = append(words, n.Condition.Subject)
	}
	if n.Condition.Host != "" {
		words = append(words, "on "+n.Condition.Host)
	}
	return printable.Text(strings.Join(words, " "))
}

// A fact is a line of a notice.
type fact struct{ name, text string }

// facts say what, since when, what it means and what to do. They are safe to show; program is
// the name of the command to run.
func (n Notice) facts(program string) []fact {
	c := n.Condition
	out := []fact{{"what", c.Text}, {"since", moment(c.Since)}}
	if !n.Ended.IsZero() {
		out = append(out, fact{"until", moment(n.Ended)})
	}
	if n.Ended.IsZero() {
		out = append(out, fact{"impact", c.Impact}, fact{"run", n.command(program)})
	}
	kept := out[:0]
	for _, f := range out {
		if f.text != "" {
			kept = append(kept, fact{f.name, printable.Text(f.text)})
		}
	}
	return kept
}

// command is what to run next, or "".
func (n Notice) command(program string) string {
	if n.Condition.Try == "" {
		return ""
	}
	return printable.Text(program + " " + n.Condition.Try)
}

// block is a notice as plain text of several lines.
func (n Notice) block(program string) string {
	var b strings.Builder
	b.WriteString(n.Title() + "\n")
	for _, f := range n.facts(program) {
		fmt.Fprintf(&b, "  %-7s %s\n", f.name, f.text)
	}
	return b.String()
}

// summary titles several notices.
func summary(notices []Notice) string {
	if len(notices) == 1 {
		return notices[0].Title()
	}
	worst, ends := monitor.OK, 0
	for _, n := range notices {
		if n.Event == Resolved {
			ends++
			continue
		}
		worst = max(worst, n.Condition.Level)
	}
	switch lasts := len(notices) - ends; {
	case lasts == 0:
		return fmt.Sprintf("resolved: %d alerts", ends)
	case ends == 0:
		return fmt.Sprintf("%s: %d alerts", worst, lasts)
	default:
		return fmt.Sprintf("%s: %d alerts, %d resolved", worst, lasts, ends)
	}
}

// moment writes a time; the zero time is "".
func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// tested is the condition of a test.
func tested(at time.Time) monitor.Condition {
	return monitor.Condition{
		Name: "test", Level: monitor.Warning, Since: at, Try: "alerts list",
		Text: "somebody tries whether alerts arrive here", Impact: "none: nothing is wrong",
	}
}

// TestNotice is a notice that is marked as a test.
func TestNotice(channel string, at time.Time) Notice {
	a := open(tested(at), at)
	return Notice{ID: a.ID, Channel: channel, Event: Test, Condition: a.Condition, At: at}
}

// programOf is the name before commands.
func programOf(name string) string { return cmp.Or(printable.Text(name), "posthorn") }
