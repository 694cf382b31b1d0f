package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/monitor"
)

// A Channel is a way to people.
type Channel struct {
	Settings
	Sender Sender
}

// Options are the settings of a Courier. Zero fields have documented defaults.
type Options struct {
	Channels []Channel
	Memory   monitor.Memory // shared by all monitors of a store; nil: nothing outlives the process
	Who      string         // tells this process from all others of the store; required
	Host     string         // of the monitor
	Pulse    *Pulse         // nil: nobody waits for a sign of life
	Figures  *Figures       // counts; nil: nobody looks
	Log      *slog.Logger   // nil means silence

	Within time.Duration // bounds one delivery; 0 means DefaultWithin
	Every  time.Duration // how often is looked whether something has to be tried again; 0 means 5 s
}

// DefaultWithin bounds one delivery.
const DefaultWithin = 10 * time.Second

// Other bounds.
const (
	memoryWithin = 5 * time.Second
	graceWithin  = 2 * time.Second // for what is under way at the end
	goAloneAfter = time.Minute     // that the document cannot be changed although the store answers
)

// The waits when another courier was faster: at most firstTry, and longer each time.
const (
	firstTry   = 10 * time.Millisecond
	longestTry = 20 // times firstTry
)

// A Courier tells alerts: it takes verdicts of a monitor, and delivers by its channels. Each
// channel has a goroutine of its own, so that one that hangs holds up nobody.
type Courier struct {
	opts     Options
	settings []Settings
	rounds   chan monitor.Round // the newest one; at most one waits
	done     chan delivered

	// Of the loop alone.
	jobs  []chan []Notice
	busy  []bool
	state State // as last known
	apart bool  // it was not remembered
	away  bool  // the monitor has said that the store is
	skew  time.Duration
	ends  bool // nothing more is begun

	sick     time.Time     // since when the document cannot be changed; zero: it can
	patience time.Duration // until this process goes on alone then

	unsettled []Outcome      // that are not remembered yet
	missed    *monitor.Round // that is not remembered yet; nil: none
}

// A delivered batch, and what came of it.
type delivered struct {
	channel  int
	outcomes []Outcome
}

// NewCourier makes a Courier. Either Run it, or Flush it now and then.
func NewCourier(o Options) *Courier {
	o.Within, o.Every = cmp.Or(o.Within, DefaultWithin), cmp.Or(o.Every, 5*time.Second)
	o.Log = tap.Logger(o.Log)
	c := &Courier{opts: o, rounds: make(chan monitor.Round, 1), done: make(chan delivered, len(o.Channels))}
	for _, ch := range o.Channels {
		c.settings = append(c.settings, ch.Settings)
	}
	return c
}

// Observe takes a verdict. It never blocks: one that was not looked at yet is replaced.
func (c *Courier) Observe(r monitor.Round) {
	select {
	case <-c.rounds:
	default:
	}
	select {
	case c.rounds <- r:
	default: // somebody else was faster with a newer one
	}
}

// Run delivers until ctx ends. What is under way then gets a short time to end; what does not
// is tried again by who comes next.
func (c *Courier) Run(ctx context.Context) {
	c.patience = goAloneAfter
	defer c.begin(ctx).end()
	ticker := time.NewTicker(c.opts.Every)
	defer ticker.Stop()
	for {
		select {
		case r := <-c.rounds:
			c.round(ctx, r)
		case d := <-c.done:
			c.settle(ctx, d)
		case <-ticker.C:
			if in := c.input(nil); c.missed != nil || c.state.Due(in) || len(c.unsettled) > 0 {
				c.step(ctx, c.missed)
			}
		case <-ctx.Done():
			c.ends = true
			c.drain(ctx, graceWithin)
			return
		}
	}
}

// Flush takes one verdict in, and tries once to deliver what is due, within a bound.
func (c *Courier) Flush(ctx context.Context, r monitor.Round, within time.Duration) {
	c.patience = 0
	if r.Revision > 0 { // the store works: who comes next will do better
		c.patience = keepFor
	}
	h := c.begin(ctx)
	defer h.end()
	c.round(ctx, r)
	c.drain(ctx, within)
	c.ends = true
	h.rest()
}

// begin starts the channels and the pulse.
func (c *Courier) begin(outer context.Context) heart {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(outer))
	var wg sync.WaitGroup
	c.jobs, c.busy, c.ends = nil, make([]bool, len(c.opts.Channels)), false
	for i := range c.opts.Channels {
		jobs := make(chan []Notice, 1)
		c.jobs = append(c.jobs, jobs)
		wg.Go(func() {
			for batch := range jobs {
				c.done <- delivered{i, c.deliver(ctx, c.opts.Channels[i].Sender, batch)}
			}
		})
	}
	beats := c.opts.Pulse.begin(ctx, c.opts.Log)
	return heart{rest: beats.rest, end: func() {
		for _, jobs := range c.jobs {
			close(jobs)
		}
		cancel(errEnd)
		wg.Wait()
		beats.end()
		var last []delivered
		for len(c.done) > 0 {
			last = append(last, <-c.done)
		}
		c.settle(outer, last...)
	}}
}

// errEnd is the cause of deliveries that are cut off because the process ends.
var errEnd = errors.New("the process ends")

// deliver carries one batch.
func (c *Courier) deliver(ctx context.Context, sender Sender, batch []Notice) []Outcome {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Within,
		fmt.Errorf("no answer within %s", c.opts.Within))
	defer cancel()
	err := sender.Send(ctx, batch)
	outcomes := make([]Outcome, len(batch))
	for i, n := range batch {
		outcomes[i] = Outcome{Notice: n, Void: err != nil && errors.Is(context.Cause(ctx), errEnd)}
		if err != nil {
			outcomes[i].Error = cmp.Or(err.Error(), "it failed without a word")
		}
		if err != nil && context.Cause(ctx) != nil {
			outcomes[i].Error = context.Cause(ctx).Error()
		}
	}
	return outcomes
}

// drain waits for what is under way, and what follows from it, as long as it may.
func (c *Courier) drain(ctx context.Context, within time.Duration) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	ctx = context.WithoutCancel(ctx)
	for !c.idle() {
		select {
		case d := <-c.done:
			c.settle(ctx, d)
		case <-timer.C:
			return
		}
	}
}

func (c *Courier) idle() bool { return !slices.Contains(c.busy, true) }

// now is the store's clock, as far as the last verdict told it.
func (c *Courier) now() time.Time { return time.Now().Add(c.skew) }

// round takes a verdict in.
func (c *Courier) round(ctx context.Context, r monitor.Round) {
	c.skew, c.away = time.Until(r.At), r.Away
	c.opts.Figures.see(r.Conditions)
	if r.Revision > 0 && r.Level < monitor.Unknown {
		c.opts.Pulse.beat()
	}
	c.step(ctx, &r)
}

// input is what a step goes by now. Of a store that is away nothing is told that others may
// tell, too: only of this host.
func (c *Courier) input(r *monitor.Round) Input {
	in := Input{Now: c.now(), Round: r, Channels: c.settings, Who: c.opts.Who}
	if c.away {
		in.Only = c.opts.Host
	}
	for i, busy := range c.busy {
		if busy {
			in.Busy = append(in.Busy, c.settings[i].Name)
		}
	}
	return in
}

// step notes what came of the last deliveries, decides what is to be sent, remembers both, and
// hands it to the channels. Where it cannot be remembered because others are always faster,
// nothing is sent: they send it.
func (c *Courier) step(ctx context.Context, r *monitor.Round) {
	in := c.input(r)
	var notices []Notice
	var late []Outcome
	kept := c.change(ctx, func(s State, apart bool) State {
		in.Apart, notices, late = apart, nil, s.late(c.opts.Who, c.unsettled)
		s = s.Settle(c.opts.Who, in.Now, c.unsettled)
		if !c.ends {
			s, notices = Step(s, in)
		}
		return s
	})
	if !kept {
		c.missed = cmp.Or(r, c.missed)
		return
	}
	c.unsettled, c.missed = nil, nil
	for _, o := range late {
		c.opts.Log.Warn("alert was delivered late: others may have told it, too", "channel", o.Channel,
			"condition", o.Condition.Name, "subject", o.Condition.Subject)
	}
	for i, ch := range c.settings {
		batch := slices.DeleteFunc(slices.Clone(notices), func(n Notice) bool { return n.Channel != ch.Name })
		if len(batch) > 0 {
			c.busy[i] = true
			c.jobs[i] <- batch // there is room: it was not busy
		}
	}
	c.opts.Figures.wait(c.state, c.settings, in.Now)
}

// settle takes what came of batches, and goes on with what waits behind them.
func (c *Courier) settle(ctx context.Context, batches ...delivered) {
	for _, d := range batches {
		c.busy[d.channel] = false
		c.say(d)
		for _, o := range d.outcomes {
			c.opts.Figures.count(o)
		}
		c.unsettled = append(c.unsettled, d.outcomes...)
	}
	if len(c.unsettled) > 0 {
		c.step(ctx, nil)
	}
}

// say logs a delivery.
func (c *Courier) say(d delivered) {
	o := d.outcomes[0]
	log := c.opts.Log.With("channel", o.Channel, "count", len(d.outcomes))
	switch {
	case o.Void:
		log.Info("alert is left for later", "cause", o.Error)
	case o.Error != "":
		log.Warn("alert was not delivered", "condition", o.Condition.Name, "subject", o.Condition.Subject, "error", o.Error)
	case o.Event == Again:
		log.Debug("alert delivered", "condition", o.Condition.Name, "subject", o.Condition.Subject, "event", o.Event)
	default:
		log.Info("alert delivered", "condition", o.Condition.Name, "subject", o.Condition.Subject, "event", o.Event)
	}
}

// change changes what all monitors remember, or where that cannot be reached, what this
// process knows by itself. It reports whether it has: others may always have been faster.
func (c *Courier) change(ctx context.Context, by func(s State, apart bool) State) (kept bool) {
	if c.opts.Memory != nil && !c.away {
		next, err := c.remember(ctx, by)
		switch {
		case err == nil:
			c.state, c.apart, c.sick = next, false, time.Time{}
			return true
		case errors.Is(err, monitor.ErrConflict):
			c.opts.Log.Warn("alerts are left to other monitors: they are faster", "error", err)
			return false
		case c.hopes(err):
			return false
		}
	}
	c.state, c.apart = by(c.state, true), true
	return true
}

// hopes reports whether a document that could not be changed is worth another try, before this
// process goes on alone and tells what others may tell, too. The first time it is told.
func (c *Courier) hopes(err error) bool {
	if c.sick.IsZero() {
		c.sick = time.Now()
		c.opts.Log.Warn("alerts cannot be remembered: this process will go on alone", "after", c.patience, "error", err)
	}
	return !errors.Is(err, ErrState) && time.Since(c.sick) < c.patience
}

// remember changes the document that all monitors share. Where others do so, too, it tries
// again after a while that chance makes longer or shorter.
func (c *Courier) remember(ctx context.Context, by func(s State, apart bool) State) (State, error) {
	within := memoryWithin
	if c.ends {
		within = graceWithin
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	for try := time.Duration(1); ; try++ {
		next, err := c.rewrite(ctx, by)
		if !errors.Is(err, monitor.ErrConflict) {
			return next, err
		}
		pause := time.NewTimer(rand.N(min(try, longestTry) * firstTry))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return next, err
		}
	}
}

// rewrite tries once to change the document that all monitors share.
func (c *Courier) rewrite(ctx context.Context, by func(s State, apart bool) State) (next State, err error) {
	body, version, err := c.opts.Memory.Load(ctx)
	if err != nil {
		return next, fmt.Errorf("load document of alerts: %w", err)
	}
	state, err := Decode(body)
	if err != nil {
		return next, err
	}
	if c.apart {
		state = state.adopt(c.state, c.opts.Host)
	}
	next = by(state, false)
	if body, err = next.Encode(); err != nil {
		return next, err
	}
	if err = c.opts.Memory.Save(ctx, body, version); err != nil {
		return next, fmt.Errorf("save document of alerts: %w", err)
	}
	return next, nil
}
