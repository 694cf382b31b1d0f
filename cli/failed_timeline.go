package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/internal/fingerprint"
	"github.com/posthorn/posthorn/store"
)

// timeline writes the life of a message: what happened, when, and what was another way
// than the time before.
func (s *session) timeline(r letterRow) {
	s.print("\nhistory\n")
	s.print("      %s  sent to %s\n", moment(r.SentAt), r.Queue)
	if len(r.History) == 0 {
		s.print("      no attempt was kept\n")
	}
	ended, changes := r.SentAt, r.Changes
	for i, a := range r.History {
		changes = s.changesUntil(changes, a.Started)
		s.print("  %2d  %s  %8s  %-14s %s  %s\n", a.Number, moment(a.Started), spent(a.Took), a.Class, a.Worker, a.Error)
		if notes := notesOf(a, r.History[:i], ended); notes != "" {
			s.print("        %s\n", notes)
		}
		ended = a.Started.Add(a.Took)
		if a.Stack != "" {
			s.block(a.Stack, "        ")
		}
	}
	changes = s.changesUntil(changes, r.DiedAt)
	s.print("      %s  died: %s\n", moment(r.DiedAt), r.Reason)
	if !r.Discarded.IsZero() && !slices.ContainsFunc(changes, changeRow.isRemoval) { // it was by an operation
		changes = s.changesUntil(changes, r.Discarded)
		s.print("      %s  removed\n", moment(r.Discarded))
	}
	for _, c := range changes {
		s.print("      %s  %s\n", moment(c.At), c.text())
	}
}

// changesUntil writes the changes before a time, and returns the rest.
func (s *session) changesUntil(changes []changeRow, until time.Time) []changeRow {
	for len(changes) > 0 && changes[0].At.Before(until) {
		s.print("      %s  %s\n", moment(changes[0].At), changes[0].text())
		changes = changes[1:]
	}
	return changes
}

// changeRow is what somebody did with a message.
type changeRow struct {
	At        time.Time  `json:"at"`
	Verb      store.Verb `json:"verb"`
	Actor     string     `json:"actor,omitempty"`
	Fields    []string   `json:"fields,omitempty"`    // that an edit has changed
	Operation string     `json:"operation,omitempty"` // which has chosen the message
	Reason    string     `json:"reason,omitempty"`
}

func (c changeRow) isRemoval() bool { return c.Verb == store.VerbRemove }

// text is the change as a reader's line.
func (c changeRow) text() string {
	const most = 5
	var b strings.Builder
	switch c.Verb {
	case store.VerbEdit:
		b.WriteString("edited: " + strings.Join(c.Fields[:min(most, len(c.Fields))], ", "))
		if len(c.Fields) > most {
			b.WriteString(" and " + plural(len(c.Fields)-most, "other field"))
		}
	case store.VerbRetry:
		b.WriteString("retried")
	case store.VerbRemove:
		b.WriteString("removed")
	case store.VerbRestore:
		b.WriteString("restored")
	case store.VerbImport:
		b.WriteString("imported")
	default:
		b.WriteString("chosen by the operation " + c.Operation)
	}
	if c.Actor != "" {
		b.WriteString(", by " + c.Actor)
	}
	if c.Reason != "" {
		b.WriteString(": " + c.Reason)
	}
	return b.String()
}

// mostActs bounds how many acts a timeline has.
const mostActs = 1000

// changesOf reads what people did with a message, the first change first.
func changesOf(ctx context.Context, st *store.Store, l store.Letter) ([]changeRow, error) {
	edits, err := st.Revisions(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	var out []changeRow
	became := failure.VersionOf(l)
	for _, e := range slices.Backward(edits) {
		was := failure.Version{Header: e.Header, Body: e.Body}
		out = append(out, changeRow{
			At: e.At.UTC(), Verb: store.VerbEdit, Actor: e.Actor, Fields: was.Changed(became),
		})
		became = was
	}
	acts, err := st.Acts(ctx, store.ActFilter{Message: l.ID, Limit: mostActs})
	if err != nil {
		return nil, err
	}
	for _, a := range acts {
		c := changeRow{At: a.At.UTC(), Verb: a.Verb, Actor: a.Actor, Reason: a.Reason}
		switch a.Verb {
		case store.VerbCreate:
			c.Operation = a.Subject
		case store.VerbRetry, store.VerbRemove, store.VerbRestore, store.VerbImport:
		default: // edits are known better, and all else changes nothing in it
			continue
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b changeRow) int { return a.At.Compare(b.At) })
	return out, nil
}

// notes say how long the message had waited for an attempt, and what has changed since
// the one before.
func notesOf(a view.Attempt, before []view.Attempt, since time.Time) string {
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
