package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/failure/view"
	"github.com/posthorn/posthorn/store"
)

// actList is a page of acts, the newest first.
type actList struct {
	Items []view.Act `json:"items"`
	Next  int64      `json:"next,omitempty"`
}

func (c *call) listActs() (err error) {
	q := c.r.URL.Query()
	f := store.ActFilter{
		Verb: store.Verb(q.Get("verb")), Actor: q.Get("actor"), Subject: q.Get("subject"), Message: q.Get("message"),
	}
	if f.After, err = timeOf(q, "after"); err != nil {
		return err
	}
	if f.Before, err = timeOf(q, "before"); err != nil {
		return err
	}
	limit, past, err := pageOf(q)
	if err != nil {
		return err
	}
	f.Limit, f.Past = limit+1, past // one more tells whether there are more
	acts, err := c.store.Acts(c.ctx, f)
	if err != nil {
		return err
	}
	list := actList{Items: []view.Act{}}
	if len(acts) > limit {
		acts = acts[:limit]
		list.Next = acts[limit-1].Seq
	}
	for _, a := range acts {
		list.Items = append(list.Items, view.OfAct(a))
	}
	return c.answer(http.StatusOK, list)
}

// sample is for how long a queue is watched to tell how fast it moves.
const sample = time.Second

// reasonView is one thing that can be said about why something is not done.
type reasonView struct {
	Name    string    `json:"name"`
	Blocks  bool      `json:"blocks"`
	Text    string    `json:"text"`
	Until   time.Time `json:"until,omitzero"`
	Command string    `json:"command,omitempty"` // of the program, to be run about it
}

func reasonsOf(rs []failure.Reason) []reasonView {
	vs := make([]reasonView, len(rs))
	for i, r := range rs {
		vs[i] = reasonView{Name: r.Name, Blocks: r.Blocks, Text: r.Text, Until: r.Until.UTC(), Command: r.Command}
	}
	return vs
}

// messageAnswer says why a message is not done.
type messageAnswer struct {
	ID       string         `json:"id"`
	Kind     string         `json:"kind"`
	Queue    string         `json:"queue"`
	Place    string         `json:"place"`
	Blocked  bool           `json:"blocked"`
	Attempts int            `json:"attempts"`
	Crashes  int            `json:"crashes"`
	Reasons  []reasonView   `json:"reasons"`
	History  []view.Attempt `json:"history"`
}

func (c *call) whyMessage() error {
	id := c.r.PathValue("id")
	a, err := failure.Why(c.ctx, c.store, id, failure.WhyOptions{Sample: sample})
	if err != nil {
		return err
	}
	if a == nil {
		return nothing("no such message", id+": done, or never known here")
	}
	return c.answer(http.StatusOK, messageAnswer{
		ID: a.ID, Kind: a.Kind, Queue: a.Queue, Place: string(a.Place), Blocked: a.Blocked(), Attempts: a.Attempt,
		Crashes: a.Crashes, Reasons: reasonsOf(a.Reasons), History: view.OfAttempts(a.History),
	})
}

// queueAnswer says why the messages of a queue are not done.
type queueAnswer struct {
	Queue    string       `json:"queue"`
	Blocked  bool         `json:"blocked"`
	Ready    int64        `json:"ready"`
	Delayed  int64        `json:"delayed"`
	InFlight int64        `json:"in_flight"`
	Suspects int64        `json:"suspects"`
	Dead     int64        `json:"dead"`
	Reasons  []reasonView `json:"reasons"`
}

func (c *call) whyQueue() error {
	queue := c.r.PathValue("queue")
	if err := driver.CheckQueue(queue); err != nil {
		return err
	}
	if err := c.heard(queue); err != nil {
		return err
	}
	a, err := failure.WhyQueue(c.ctx, c.store, queue, failure.WhyOptions{Sample: sample})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, queueAnswer{
		Queue: queue, Blocked: a.Blocked(), Ready: a.Ready, Delayed: a.Delayed, InFlight: a.InFlight, Suspects: a.Suspects,
		Dead: a.Dead, Reasons: reasonsOf(a.Reasons),
	})
}

// heard makes sure that somebody has heard of a queue.
func (c *call) heard(queue string) error {
	names, known, err := failure.HeardOf(c.ctx, c.store, c.queues, queue)
	if err != nil || known {
		return err
	}
	p := &problem{
		Status: http.StatusNotFound, Code: "E-NOTHING-MATCHED", Title: "no such queue", Detail: failure.UnheardText(queue),
	}
	if len(names) > 0 {
		p.Try = fmt.Sprintf("the queues are %q", names)
	}
	return p
}
