// Package view is the shape in which dead letters and what is done with them are shown as
// JSON, by the command line and over HTTP alike. Times are in UTC; what the type of a
// message marks as secret is hidden, as is what stands under a name of a secret, unless the
// caller leaves that out.
package view

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// Letter is a dead letter without its body.
type Letter struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Queue      string            `json:"queue"`
	Reason     string            `json:"reason"`
	Class      string            `json:"class"`
	Error      string            `json:"error"`
	Attempts   int               `json:"attempts"`
	Deliveries int               `json:"deliveries"`
	Crashes    int               `json:"crashes"`
	Group      string            `json:"fingerprint,omitempty"`
	ErrorType  string            `json:"error_type,omitempty"`
	Build      string            `json:"build,omitempty"`
	SentAt     time.Time         `json:"sent_at"`
	DiedAt     time.Time         `json:"died_at"`
	Discarded  time.Time         `json:"discarded_at,omitzero"`
	Priority   int               `json:"priority"`
	Edits      int               `json:"edits"` // since it died
	Header     map[string]string `json:"header,omitempty"`
	Redacted   []string          `json:"redacted,omitempty"` // what of header and body is hidden
}

// OfLetter shows a letter with its header as it is.
func OfLetter(l store.Letter) Letter {
	v := Letter{
		ID: l.ID, Kind: l.Kind, Queue: l.Queue, Reason: l.Reason, Class: string(l.Class), Error: l.Error,
		Attempts: l.Attempt, Deliveries: l.Deliveries, Crashes: l.Crashes, SentAt: l.SentAt.UTC(), DiedAt: l.DiedAt.UTC(),
		Discarded: l.Discarded.UTC(), Priority: l.Priority, Edits: l.Revision, Header: l.Header, Group: l.Fingerprint,
		ErrorType: l.ErrorType, Build: l.Build,
	}
	if l.Class.Counts() { // the last attempt is not among those that the envelope counts
		v.Attempts++
	}
	return v
}

// Content is a body: as JSON if it is that, or else in base64.
type Content struct {
	Body   json.RawMessage `json:"body,omitempty"`
	Base64 string          `json:"body_base64,omitempty"`
}

// OfBody shows a body as it is.
func OfBody(body []byte) Content {
	if json.Valid(body) {
		return Content{Body: body}
	}
	return Content{Base64: base64.StdEncoding.EncodeToString(body)}
}

// Attempt is one attempt of a history.
type Attempt struct {
	Number   int       `json:"number"`
	Started  time.Time `json:"started_at"`
	Duration float64   `json:"duration_seconds"`
	Class    string    `json:"class"`
	Worker   string    `json:"worker"`
	Build    string    `json:"build,omitempty"`
	Error    string    `json:"error,omitempty"`
	Stack    string    `json:"stack,omitempty"`

	Took time.Duration `json:"-"`
}

// OfAttempts shows a history; never nil.
func OfAttempts(as []driver.Attempt) []Attempt {
	vs := make([]Attempt, len(as))
	for i, a := range as {
		vs[i] = Attempt{
			Number: a.Number, Started: a.Started.UTC(), Duration: a.Duration.Seconds(), Class: string(a.Class),
			Worker: a.Worker, Build: a.Build, Error: a.Error, Stack: a.Stack, Took: a.Duration,
		}
	}
	return vs
}

// Group is a group of dead letters.
type Group struct {
	Fingerprint string    `json:"fingerprint"`
	Algorithm   string    `json:"algorithm"`
	Kind        string    `json:"kind"`
	Class       string    `json:"class"`
	ErrorType   string    `json:"error_type,omitempty"`
	Title       string    `json:"title"`
	Count       int64     `json:"count"`
	Trend       []int64   `json:"deaths_by_hour"`
	First       time.Time `json:"first_seen_at"`
	FirstBuild  string    `json:"first_seen_build,omitempty"`
	Last        time.Time `json:"last_seen_at,omitzero"` // zero: it has no letters
	State       string    `json:"state"`
	Note        string    `json:"note,omitempty"`
	Actor       string    `json:"actor,omitempty"`
	Changed     time.Time `json:"state_since"`
	Sample      string    `json:"sample_id,omitempty"`
	SampleError string    `json:"sample_error,omitempty"`
}

// OfGroup shows a group.
func OfGroup(g store.Group) Group {
	v := Group{
		Fingerprint: g.Fingerprint, Algorithm: g.Algorithm, Kind: g.Kind, Class: string(g.Class), ErrorType: g.ErrorType,
		Title: g.Title, Count: g.Count, Trend: g.Trend[:], First: g.First.UTC(), FirstBuild: g.FirstBuild,
		State: string(g.State), Note: g.Note, Actor: g.Actor, Changed: g.Changed.UTC(),
	}
	if g.Sample != nil {
		v.Last, v.Sample, v.SampleError = g.Last.UTC(), g.Sample.ID, g.Sample.Error
	}
	return v
}

// Operation is bulk work.
type Operation struct {
	store.Operation
	Left     int      `json:"left"`               // letters that have not had their turn
	Redacted []string `json:"redacted,omitempty"` // what of the patch is hidden
}

// OfOperation shows an operation without what its patch has for secrets: those that are
// marked by the types of the messages which it is about, as far as the handlers know them,
// and those that a name in a path tells.
func OfOperation(o store.Operation, m *posthorn.Mux) Operation {
	for _, t := range []*time.Time{&o.Created, &o.Began, &o.Ended, &o.Now} {
		*t = t.UTC()
	}
	var kinds []string // else it may be about any
	if o.Filter.Kind != "" {
		kinds = []string{o.Filter.Kind}
	}
	v := Operation{Left: o.Left()}
	o.Patch, v.Redacted = hidePatch(o.Patch, m.Secrets(kinds...))
	v.Operation = o
	return v
}

// Act is what somebody did.
type Act struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"`
	Verb     string    `json:"verb"`
	Subject  string    `json:"subject,omitempty"`
	Filter   string    `json:"filter,omitempty"`
	Messages []string  `json:"messages,omitempty"`
	Count    int       `json:"count"`
	Was      string    `json:"before,omitempty"`
	Became   string    `json:"after,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

// OfAct shows an act.
func OfAct(a store.Act) Act {
	return Act{
		Seq: a.Seq, At: a.At.UTC(), Actor: a.Actor, Verb: string(a.Verb), Subject: a.Subject, Filter: a.Filter,
		Messages: a.Messages, Count: a.Count, Was: a.Was, Became: a.Became, Reason: a.Reason,
	}
}
