package failure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// The names of reasons about queues that are none about messages.
const (
	ReasonEmpty = "empty" // nothing is ready
	ReasonReady = "ready" // so many are ready
	ReasonPace  = "pace"  // whether the queue shrinks or grows
)

// A QueueAnswer says why the messages of a queue are not done.
type QueueAnswer struct {
	store.QueueStats
	Reasons []Reason // those that keep all of its messages from being taken come first
}

// Blocked reports whether anything keeps all messages of the queue from being taken.
func (a *QueueAnswer) Blocked() bool {
	return slices.ContainsFunc(a.Reasons, func(r Reason) bool { return r.Blocks })
}

// WhyQueue explains why the messages of a queue are not done. A queue that nobody has
// heard of is an empty one. It reads only.
func WhyQueue(ctx context.Context, st *store.Store, queue string, o WhyOptions) (*QueueAnswer, error) {
	c := &queueInquiry{QueueAnswer: &QueueAnswer{}}
	var err error
	if c.QueueStats, err = statsOf(ctx, st, queue); err != nil {
		return nil, err
	}
	if c.workers, c.now, err = st.Workers(ctx); err != nil {
		return nil, err
	}
	pauses, _, err := st.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	if c.holds, err = st.InHand(ctx); err != nil {
		return nil, err
	}
	if c.held, err = st.HeldBack(ctx); err != nil {
		return nil, err
	}
	for _, p := range pauses {
		if p.Queue == queue {
			c.say(Reason{
				Name: store.GatePaused, Blocks: true, Until: p.Until, Command: "queues resume " + queue,
				Text: "it is paused " + PauseText(p),
			})
		}
	}
	c.consumed()
	c.places()
	c.unknown()
	return c.QueueAnswer, c.pace(ctx, st, o)
}

// statsOf are the figures of one queue.
func statsOf(ctx context.Context, st *store.Store, queue string) (store.QueueStats, error) {
	all, err := st.Stats(ctx)
	for _, one := range all {
		if one.Queue == queue {
			return one, err
		}
	}
	return store.QueueStats{Queue: queue}, err
}

// A queueInquiry is a QueueAnswer in the making.
type queueInquiry struct {
	*QueueAnswer
	now     time.Time
	workers []driver.WorkerRecord
	holds   []store.Hold
	held    []store.HeldBack
}

func (c *queueInquiry) say(r Reason) { c.Reasons = append(c.Reasons, r) }

// consumed says who takes from the queue.
func (c *queueInquiry) consumed() {
	ws := consumers(c.workers, c.Queue, c.now)
	if len(ws) == 0 {
		c.say(Reason{Name: ReasonUnconsumed, Blocks: true, Command: "up", Text: nobody(c.workers, c.Queue, c.now)})
		return
	}
	hands := 0
	for _, w := range ws {
		hands += w.Concurrency
	}
	c.say(Reason{Name: ReasonWorker, Text: fmt.Sprintf("%s with %s take from it",
		count(int64(len(ws)), "living worker"), count(int64(hands), "hand"))})
	if others := served(ws, c.Queue); len(others) > 0 {
		c.say(Reason{Name: ReasonRank, Text: fmt.Sprintf(
			"its workers also serve %s; how they share is said by their configuration", joined(others))})
	}
}

// places says where its messages are.
func (c *queueInquiry) places() {
	if c.Ready > 0 {
		c.say(Reason{Name: ReasonReady, Text: fmt.Sprintf("%s ready, the oldest for %s", are(c.Ready), span(c.OldestAge))})
	} else {
		c.say(Reason{Name: ReasonEmpty, Text: "nothing is ready"})
	}
	if c.Delayed > 0 {
		c.say(Reason{Name: store.GateDelayed, Until: c.now.Add(c.NextDue),
			Text: fmt.Sprintf("%s not due yet; the first of them is in %s", are(c.Delayed), span(c.NextDue))})
	}
	if c.Suspects > 0 {
		c.say(Reason{Name: store.GateSuspect,
			Text: fmt.Sprintf("%s suspected of killing a worker, and wait to run alone", are(c.Suspects))})
	}
	for _, h := range c.holds {
		if h.Queue != c.Queue {
			continue
		}
		c.say(Reason{Name: store.GateLeased, Text: fmt.Sprintf("worker %s%s holds %s, the oldest for %s",
			h.Worker, c.standing(h.Worker), count(h.Messages, "message"), span(c.now.Sub(h.First)))})
	}
}

// standing says of a worker in brackets what makes it doubtful.
func (c *queueInquiry) standing(id string) string {
	i := slices.IndexFunc(c.workers, func(w driver.WorkerRecord) bool { return w.ID == id })
	switch {
	case i < 0:
		return " (in no registry any more)"
	case !living(c.workers[i], c.now):
		return fmt.Sprintf(" (silent for %s)", span(c.now.Sub(c.workers[i].Seen)))
	}
	return ""
}

// unknown says which kinds are given back again and again.
func (c *queueInquiry) unknown() {
	ws := consumers(c.workers, c.Queue, c.now)
	for _, h := range c.held {
		known := slices.ContainsFunc(ws, func(w driver.WorkerRecord) bool { return slices.Contains(w.Kinds, h.Kind) })
		if h.Queue == c.Queue && !known && len(ws) > 0 {
			c.say(Reason{Name: ReasonUnknownKind, Text: fmt.Sprintf(
				"%s of kind %s, which none of its living workers knows", are(h.Messages), h.Kind)})
		}
	}
}

// pace says whether the queue shrinks or grows.
func (c *queueInquiry) pace(ctx context.Context, st *store.Store, o WhyOptions) error {
	if o.Sample <= 0 || c.Ready == 0 || c.Blocked() {
		return nil
	}
	began := time.Now()
	if err := pauseFor(ctx, o.Sample); err != nil {
		return err
	}
	later, err := statsOf(ctx, st, c.Queue)
	if err != nil {
		return err
	}
	took := time.Since(began)
	fewer := c.Ready + c.InFlight - later.Ready - later.InFlight
	r := Reason{Name: ReasonPace}
	switch rate := float64(fewer) / took.Seconds(); {
	case fewer > 0:
		eta := time.Duration(float64(later.Ready) / rate * float64(time.Second))
		r.Text = fmt.Sprintf("it shrinks by %.0f a second now; at this rate nothing waits in %s", rate, span(eta))
		r.Until = c.now.Add(took + eta)
	case fewer < 0:
		r.Text = fmt.Sprintf("it grows by %.0f a second now", -rate)
	default:
		r.Text = "it neither shrinks nor grows now"
	}
	c.say(r)
	return nil
}

// are is how many messages are in some state.
func are(n int64) string {
	if n == 1 {
		return "1 message is"
	}
	return fmt.Sprintf("%d messages are", n)
}
