package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/fingerprint"
)

// timeline writes the life of a message: what happened, when, and what was another way
// than the time before.
func (s *session) timeline(r letterRow) {
	s.print("\nhistory\n")
	s.print("      %s  sent to %s\n", moment(r.SentAt), r.Queue)
	if len(r.History) == 0 {
		s.print("      no attempt was kept\n")
	}
	ended := r.SentAt
	for i, a := range r.History {
		s.print("  %2d  %s  %8s  %-14s %s  %s\n", a.Number, moment(a.Started), spent(a), a.Class, a.Worker, a.Error)
		if notes := a.notes(r.History[:i], ended); notes != "" {
			s.print("        %s\n", notes)
		}
		ended = a.Started.Add(a.took)
		if a.Stack != "" {
			s.block(a.Stack, "        ")
		}
	}
	s.print("      %s  died: %s\n", moment(r.DiedAt), r.Reason)
	if r.Discarded != nil {
		s.print("      %s  removed\n", moment(*r.Discarded))
	}
}

// notes say how long the message had waited for an attempt, and what has changed since
// the one before.
func (a attemptRow) notes(before []attemptRow, since time.Time) string {
	var out []string
	if waited := a.Started.Sub(since); waited >= time.Second {
		out = append(out, "after it had waited "+age(waited))
	}
	if len(before) == 0 {
		if a.Build != "" {
			out = append(out, "build "+a.Build)
		}
		return strings.Join(out, "; ")
	}
	last := before[len(before)-1]
	for _, c := range []struct{ what, was, is string }{
		{"build", last.Build, a.Build}, {"worker", last.Worker, a.Worker}, {"class", last.Class, a.Class},
	} {
		if c.was != c.is && c.is != "" {
			out = append(out, fmt.Sprintf("another %s: %s, was %s", c.what, c.is, c.was))
		}
	}
	switch {
	case last.Error == a.Error && last.Class == a.Class:
		out = append(out, "the same error")
	case fingerprint.Normal(last.Error) == fingerprint.Normal(a.Error):
		out = append(out, "the same fault")
	default:
		out = append(out, "another error")
	}
	return strings.Join(out, "; ")
}
