package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// operationList is a page of operations, the newest first.
type operationList struct {
	Items []view.Operation `json:"items"`
	Next  int64            `json:"next,omitempty"`
}

func (c *call) listOperations() (err error) {
	q := c.r.URL.Query()
	var f store.OperationFilter
	if f.Active, err = boolOf(q, "active"); err != nil {
		return err
	}
	limit, past, err := pageOf(q)
	if err != nil {
		return err
	}
	f.Limit, f.Past = limit+1, past // one more tells whether there are more
	os, err := c.store.Operations(c.ctx, f)
	if err != nil {
		return err
	}
	list := operationList{Items: []view.Operation{}}
	if len(os) > limit {
		os = os[:limit]
		list.Next = os[limit-1].Key()
	}
	for _, o := range os {
		list.Items = append(list.Items, view.OfOperation(o, c.mux))
	}
	return c.answer(http.StatusOK, list)
}

func (c *call) showOperation() error {
	o, err := c.store.Operation(c.ctx, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view.OfOperation(o, c.mux))
}

// wish is an operation that is to be made.
type wish struct {
	Action string `json:"action"`
	Filter choice `json:"filter"`
	To     string `json:"to"`
	// Confirm is To once more, where nobody has heard of that queue and it is meant all the same.
	Confirm string  `json:"confirm"`
	Rate    float64 `json:"rate"`
	Canary  *bool   `json:"canary"` // nil: where there are many letters
	Reason  string  `json:"reason"`
	DryRun  bool    `json:"dry_run"`
}

// operation is what is wished for.
func (c *call) operation() (o store.Operation, w wish, err error) {
	if err := c.read(&w); err != nil {
		return o, w, err
	}
	switch {
	case !w.Filter.narrows() && !w.Filter.All:
		return o, w, usage("the filter chooses everything; if that is meant, say all")
	case w.Filter.narrows() && w.Filter.All:
		return o, w, usage("the filter says all, and something else")
	case w.Filter.Discarded:
		return o, w, usage("what is restored was removed, and nothing else was; leave discarded out")
	case w.Confirm != "" && w.Confirm != w.To:
		return o, w, usage("confirm is the queue that to says, where nobody has heard of it")
	}
	o = store.Operation{
		Action: store.Action(w.Action), To: w.To, Rate: w.Rate, Reason: w.Reason, Chosen: w.Filter.words(),
	}
	o.Filter, err = c.filter(w.Filter)
	return o, w, err
}

// startOperation makes an operation, or only says what it would be about.
func (c *call) startOperation() error {
	o, w, err := c.operation()
	if err != nil {
		return err
	}
	if err := c.knownTarget(o, w); err != nil {
		return err
	}
	if w.DryRun {
		p, err := failure.Foresee(c.ctx, c.store, o)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, previewOf(p))
	}
	n, err := failure.Measure(c.ctx, c.store, o)
	switch {
	case err != nil:
		return err
	case n == 0:
		return nothing("nothing matched", "no dead letter fits the filter")
	}
	o.Canary = failure.Canary(w.Canary, n)
	if o, err = c.store.StartOperation(c.doing(o.Chosen, w.Reason), o); err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/operations/"+o.ID)
	return c.answer(http.StatusCreated, view.OfOperation(o, c.mux))
}

// knownTarget refuses a queue that nobody has heard of, unless it is confirmed: what is put
// there waits until a worker is told to consume it, and nothing takes it back.
func (c *call) knownTarget(o store.Operation, w wish) error {
	if o.To == "" || o.Action != store.ActionRetry || w.Confirm == o.To || driver.CheckQueue(o.To) != nil {
		return nil // or the store says what is wrong
	}
	err := c.heard(o.To)
	var p *problem
	if !errors.As(err, &p) {
		return err
	}
	p.Status, p.Code, p.Title = http.StatusUnprocessableEntity, "E-CONFIRM", "not confirmed"
	p.Try = strings.TrimSuffix(fmt.Sprintf("if it is meant, confirm by %q; %s", o.To, p.Try), "; ")
	return p
}

// previewView is what an operation would be about.
type previewView struct {
	Total   int           `json:"total"`
	By      []countView   `json:"by"`
	Oldest  time.Time     `json:"oldest,omitzero"`
	Newest  time.Time     `json:"newest,omitzero"`
	Samples []view.Letter `json:"samples"`
	Takes   float64       `json:"takes_seconds,omitempty"` // at least; left out if nobody knows
}

// countView is how many letters there are of a sort.
type countView struct {
	Kind   string    `json:"kind"`
	Queue  string    `json:"queue"`
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
}

func previewOf(p failure.Preview) previewView {
	v := previewView{
		Total: p.Total, Oldest: p.Oldest.UTC(), Newest: p.Newest.UTC(), Samples: lettersOf(p.Samples),
		Takes: p.Takes.Seconds(),
		By:    make([]countView, len(p.By)),
	}
	for i, by := range p.By {
		v.By[i] = countView{
			Kind: by.Kind, Queue: by.Queue, Reason: by.Reason, Count: by.Count, Oldest: by.Oldest.UTC(), Newest: by.Newest.UTC(),
		}
	}
	return v
}

func (c *call) pauseOperation() error { return c.turn(c.store.PauseOperation) }

func (c *call) cancelOperation() error { return c.turn(c.store.CancelOperation) }

func (c *call) resumeOperation() error {
	return c.turn(func(ctx context.Context, id, _ string) (store.Operation, error) {
		return c.store.ResumeOperation(ctx, id)
	})
}

// turn changes an operation's state.
func (c *call) turn(do func(ctx context.Context, id, why string) (store.Operation, error)) error {
	var said struct {
		Reason string `json:"reason"`
	}
	if err := c.read(&said); err != nil {
		return err
	}
	o, err := do(c.doing("", said.Reason), c.r.PathValue("id"), said.Reason)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, view.OfOperation(o, c.mux))
}
