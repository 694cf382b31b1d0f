package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// letterView is a dead letter, as it is shown.
type letterView struct {
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
}

func viewOf(l store.Letter) letterView {
	v := letterView{
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

func viewsOf(ls []store.Letter) []letterView {
	vs := make([]letterView, len(ls))
	for i, l := range ls {
		vs[i] = viewOf(l)
	}
	return vs
}

// contentView is a body: as JSON if it is that, or else in base64.
type contentView struct {
	Body   json.RawMessage `json:"body,omitempty"`
	Base64 string          `json:"body_base64,omitempty"`
}

func contentOf(body []byte) contentView {
	if json.Valid(body) {
		return contentView{Body: body}
	}
	return contentView{Base64: base64.StdEncoding.EncodeToString(body)}
}

// attemptView is one attempt of a history.
type attemptView struct {
	Number   int       `json:"number"`
	Started  time.Time `json:"started_at"`
	Duration float64   `json:"duration_seconds"`
	Class    string    `json:"class"`
	Worker   string    `json:"worker"`
	Build    string    `json:"build,omitempty"`
	Error    string    `json:"error,omitempty"`
	Stack    string    `json:"stack,omitempty"`
}

func attemptsOf(as []driver.Attempt) []attemptView {
	vs := make([]attemptView, len(as))
	for i, a := range as {
		vs[i] = attemptView{
			Number: a.Number, Started: a.Started.UTC(), Duration: a.Duration.Seconds(), Class: string(a.Class),
			Worker: a.Worker, Build: a.Build, Error: a.Error, Stack: a.Stack,
		}
	}
	return vs
}

// revisionView is what a letter was before an edit.
type revisionView struct {
	Number int               `json:"number"`
	At     time.Time         `json:"replaced_at"`
	Actor  string            `json:"actor"`
	Header map[string]string `json:"header,omitempty"`
	contentView
}

// momentView is something that happened to a message.
type momentView struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`             // sent, attempt, died or the verb of an act
	By     string    `json:"by,omitempty"`     // a worker, or who acted
	Number int       `json:"number,omitempty"` // of an attempt
	Class  string    `json:"class,omitempty"`  // of an attempt
	Detail string    `json:"detail,omitempty"`
}

// tagOf is the entity tag of a letter's version: an id may die again, and be edited.
func tagOf(l store.Letter) string { return fmt.Sprintf("\"%d-%d\"", l.Seq, l.Revision) }

// groupView is a group of dead letters, as it is shown.
type groupView struct {
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
	Last        time.Time `json:"last_seen_at,omitzero"`
	State       string    `json:"state"`
	Note        string    `json:"note,omitempty"`
	Actor       string    `json:"actor,omitempty"`
	Changed     time.Time `json:"state_since"`
	Sample      string    `json:"sample_id,omitempty"`
	SampleError string    `json:"sample_error,omitempty"`
}

func groupViewOf(g store.Group) groupView {
	v := groupView{
		Fingerprint: g.Fingerprint, Algorithm: g.Algorithm, Kind: g.Kind, Class: string(g.Class), ErrorType: g.ErrorType,
		Title: g.Title, Count: g.Count, Trend: g.Trend[:], First: g.First.UTC(), FirstBuild: g.FirstBuild,
		Last: g.Last.UTC(), State: string(g.State), Note: g.Note, Actor: g.Actor, Changed: g.Changed.UTC(),
	}
	if g.Sample != nil {
		v.Sample, v.SampleError = g.Sample.ID, g.Sample.Error
	}
	return v
}

// operationView is an operation, as it is shown.
type operationView struct {
	store.Operation
	Left int `json:"left"`
}

func operationViewOf(o store.Operation) operationView {
	for _, t := range []*time.Time{&o.Created, &o.Began, &o.Ended, &o.Now} {
		*t = t.UTC()
	}
	return operationView{Operation: o, Left: o.Left()}
}

// actView is an act, as it is shown.
type actView struct {
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

func actViewOf(a store.Act) actView {
	return actView{
		Seq: a.Seq, At: a.At.UTC(), Actor: a.Actor, Verb: string(a.Verb), Subject: a.Subject, Filter: a.Filter,
		Messages: a.Messages, Count: a.Count, Was: a.Was, Became: a.Became, Reason: a.Reason,
	}
}
