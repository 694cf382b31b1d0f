package failure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A Reason is one thing that can be said about why a message is not done.
type Reason struct {
	// Name is one of those that a closed gate has (store.GateDelayed and the others), or
	// of the constants below. It never changes.
	Name string
	// Blocks: as long as it stands, no living worker of the message's queue that knows its
	// kind takes the message.
	Blocks  bool
	Text    string    // a sentence without its stop
	Until   time.Time // when it ends by itself, by the store's clock; zero: nobody knows
	Command string    // what to run about it, without the program's name; often empty
}

// The names of reasons that are no gates.
const (
	ReasonUnconsumed  = "unconsumed"   // no living worker consumes the queue
	ReasonUnknownKind = "unknown_kind" // none of them knows the kind
	ReasonDead        = "dead"
	ReasonRemoved     = "removed"
	ReasonBehind      = "behind" // others are delivered before it
	ReasonRank        = "rank"   // its workers serve other queues, too
	ReasonWorker      = "worker" // who holds it, or who could have it
	ReasonCrashes     = "crashes"
)

// An Answer says why a message is not done.
type Answer struct {
	*store.Position
	History []driver.Attempt // oldest first
	Reasons []Reason         // those that block come first
}

// Blocked reports whether anything keeps the message from being taken.
func (a *Answer) Blocked() bool {
	return slices.ContainsFunc(a.Reasons, func(r Reason) bool { return r.Blocks })
}

// WhyOptions are the settings of Why and WhyQueue.
type WhyOptions struct {
	// Sample is for how long to watch a queue, to tell how fast it moves now; 0 means
	// not at all.
	Sample time.Duration
}

// Why explains why a message is not done. It returns nil for one that is done, or
// never was. It reads only.
func Why(ctx context.Context, st *store.Store, id string, o WhyOptions) (*Answer, error) {
	p, err := st.Find(ctx, id)
	if err != nil || p == nil {
		return nil, err
	}
	c := &inquiry{Answer: &Answer{Position: p}}
	if c.History, err = st.Attempts(ctx, id); err != nil {
		return nil, err
	}
	if p.Letter != nil {
		c.buried()
		return c.Answer, nil
	}
	closed, now, live, err := st.Gates(ctx, id)
	if err != nil {
		return nil, err
	}
	if !live { // it has moved on in between
		return Why(ctx, st, id, o)
	}
	all, _, err := st.Workers(ctx)
	if err != nil {
		return nil, err
	}
	c.Now, c.all = now, all
	for _, g := range closed {
		c.gate(g)
	}
	c.workers()
	if err := c.turn(ctx, st, o); err != nil {
		return nil, err
	}
	c.crashes()
	slices.SortStableFunc(c.Reasons, func(a, b Reason) int { return rank(a) - rank(b) })
	return c.Answer, nil
}

// rank sorts reasons: those that block come first.
func rank(r Reason) int {
	if r.Blocks {
		return 0
	}
	return 1
}

// An inquiry is an Answer in the making.
type inquiry struct {
	*Answer
	all []driver.WorkerRecord // of every queue, the silent ones included
}

func (c *inquiry) say(r Reason) { c.Reasons = append(c.Reasons, r) }

// buried is all there is to say about a letter.
func (c *inquiry) buried() {
	l := c.Letter
	if c.Place == store.PlaceRemoved {
		c.say(Reason{
			Name: ReasonRemoved, Blocks: true, Command: "failed restore " + c.ID,
			Text: fmt.Sprintf("it died at %s (%s), and was removed at %s", moment(l.DiedAt), l.Reason, moment(l.Discarded)),
		})
		return
	}
	c.say(Reason{
		Name: ReasonDead, Blocks: true, Command: "failed show " + c.ID,
		Text: fmt.Sprintf("dead since %s: %s (%s) %s", moment(l.DiedAt), l.Reason, l.Class, l.Error),
	})
}

// gate words a gate that is closed.
func (c *inquiry) gate(g store.Closed) {
	r := Reason{Name: g.Gate, Blocks: true, Until: g.Until}
	switch g.Gate {
	case store.GateDelayed:
		r.Text = fmt.Sprintf("%s; it is due in %s, at %s", c.waitsFor(), span(g.Until.Sub(c.Now)), moment(g.Until))
	case store.GateLeased:
		c.leased(g, r)
		return
	case store.GateSuspect:
		r.Text = fmt.Sprintf("%s; it runs next with nothing else in its process; if nobody runs it alone, any worker "+
			"takes it from %s on", c.suspected(), moment(g.Until))
	case store.GatePaused:
		r.Text = "queue " + c.Queue + " is paused " + PauseText(*g.Pause)
		r.Command = "queues resume " + c.Queue
	}
	c.say(r)
}

func (c *inquiry) waitsFor() string {
	switch {
	case c.Attempt > 0:
		return fmt.Sprintf("it failed %s and waits for its next attempt", count(int64(c.Attempt), "time"))
	case c.Deliveries > 0:
		return "it was given back and waits for its next attempt"
	}
	return "it was sent with a delay"
}

// suspected words of what a suspect is suspected.
func (c *inquiry) suspected() string {
	for _, at := range slices.Backward(c.History) {
		if at.Class == driver.ClassCrash {
			return fmt.Sprintf("it is suspected of killing its worker %s: %s", at.Worker, at.Error)
		}
	}
	return "it is suspected of killing its worker"
}

// leased words who holds the message, and what is known of that worker.
func (c *inquiry) leased(g store.Closed, r Reason) {
	r.Text = fmt.Sprintf("worker %s has held it for %s; its lease ends in %s unless it is renewed",
		c.Worker, span(c.Now.Sub(c.Claimed)), span(g.Until.Sub(c.Now)))
	c.say(r)
	if c.Suspect {
		c.say(Reason{Name: ReasonWorker, Text: c.suspected() + "; it runs with nothing else in its process"})
	}
	i := slices.IndexFunc(c.all, func(w driver.WorkerRecord) bool { return w.ID == c.Worker })
	if i < 0 {
		c.say(Reason{Name: ReasonWorker,
			Text: "that worker is in no registry any more; another one takes the message when the lease has ended"})
		return
	}
	w := c.all[i]
	if !living(w, c.Now) {
		c.say(Reason{Name: ReasonWorker, Text: fmt.Sprintf(
			"that worker has not been heard of for %s; another one takes the message when the lease has ended",
			span(c.Now.Sub(w.Seen)))})
		return
	}
	text := fmt.Sprintf("that worker is alive: %s on %s, pid %d, %s, seen %s ago",
		w.Program, w.Host, w.PID, w.State, span(c.Now.Sub(w.Seen)))
	listed := slices.ContainsFunc(w.Holds, func(h driver.Hold) bool { return h.ID == c.ID })
	if !listed && len(w.Holds) < driver.MaxHolds && w.Seen.After(c.Claimed.Add(time.Second)) {
		text += "; it does not list the message among those that it has in hand"
	}
	c.say(Reason{Name: ReasonWorker, Text: text})
}

// workers says who could take the message.
func (c *inquiry) workers() {
	consuming := consumers(c.all, c.Queue, c.Now)
	n := 0
	for _, w := range consuming {
		if slices.Contains(w.Kinds, c.Kind) {
			n++
		}
	}
	switch {
	case len(consuming) == 0:
		c.say(Reason{Name: ReasonUnconsumed, Blocks: true, Command: "up", Text: nobody(c.all, c.Queue, c.Now)})
	case n == 0:
		c.say(Reason{Name: ReasonUnknownKind, Blocks: true, Text: fmt.Sprintf(
			"no living worker of queue %s knows kind %s: deploy the program that has its handler", c.Queue, c.Kind)})
	case c.Place != store.PlaceLeased:
		who := count(int64(n), "living worker")
		c.say(Reason{Name: ReasonWorker, Text: who + " of its queue know its kind"})
	}
	if others := served(consuming, c.Queue); len(others) > 0 && n > 0 {
		c.say(Reason{Name: ReasonRank, Text: fmt.Sprintf(
			"its workers also serve %s; how they share is said by their configuration", joined(others))})
	}
}

// crashes says how often a worker has died of it, or with it.
func (c *inquiry) crashes() {
	if c.Crashes > 0 {
		c.say(Reason{Name: ReasonCrashes,
			Text: fmt.Sprintf("its worker died %s while it held the message", count(int64(c.Crashes), "time"))})
	}
}

// turn says how many are delivered before it, and when it will be its turn.
func (c *inquiry) turn(ctx context.Context, st *store.Store, o WhyOptions) error {
	if c.Place != store.PlaceReady {
		return nil
	}
	text := fmt.Sprintf("it has been due for %s; %s will be delivered before it",
		span(c.Now.Sub(c.Due)), count(c.Ahead, "message"))
	r := Reason{Name: ReasonBehind, Text: text}
	if c.Ahead > 0 && o.Sample > 0 && !c.Blocked() {
		began := time.Now()
		if err := pauseFor(ctx, o.Sample); err != nil {
			return err
		}
		later, err := st.Find(ctx, c.ID)
		if err != nil {
			return err
		}
		r.Text, r.Until = c.pace(text, later, time.Since(began))
	}
	c.say(r)
	return nil
}

// pace says when it is the message's turn if the queue goes on as it did in a time.
func (c *inquiry) pace(text string, later *store.Position, took time.Duration) (string, time.Time) {
	if later == nil || later.Place != store.PlaceReady {
		return "its turn has just come", time.Time{}
	}
	passed := c.Ahead - later.Ahead
	if passed <= 0 {
		return fmt.Sprintf("%s; in the last %s it has come no nearer", text, span(took)), time.Time{}
	}
	eta := time.Duration(float64(later.Ahead) / float64(passed) * float64(took))
	return fmt.Sprintf("%s; at the present rate of %.0f a second its turn comes in %s",
		text, float64(passed)/took.Seconds(), span(eta)), later.Now.Add(eta)
}
