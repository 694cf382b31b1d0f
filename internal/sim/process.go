package sim

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/internal/share"
	"github.com/posthorn/posthorn/worker/verdict"
)

// Times of a worker.
const (
	handlerTimeout = 5 * time.Second
	stuckGrace     = 5 * time.Second
	drainTimeout   = 3 * time.Second
	abandonAfter   = 2 * time.Second
	maxCrashes     = 5
)

// A parcel is a delivery on its way through a worker.
type parcel struct {
	d        driver.Delivery
	m        *message
	worker   *process
	isolated bool

	leaseEnd time.Duration
	begun    bool // its handler was entered
	running  bool // and has not returned
	stuck    bool
	late     bool  // it has run into its deadline
	cause    error // why its context has ended
	verdict  bool  // it has one, and leaves room for another
	left     bool  // somebody has taken over its end
	line     *driver.Attempt

	settlement driver.Settlement
}

// A process is a worker's: what the goroutines of a real one do is done in steps here,
// between which it can be paused, or die.
type process struct {
	life
	id       string
	host     *host
	isolated bool
	ended    func(clean bool) // tells who has started it

	joined    bool
	stopping  bool
	aborted   bool
	stuckness bool // it ends because handlers are stuck
	limit     int  // of messages
	handled   int
	killer    *message // that ended it; nil: it lives, or something else did
	idleSince time.Duration

	rules   verdict.Rules
	sub     driver.Subscription
	turns   *share.Schedule
	hand    []*parcel
	work    []*parcel    // claimed, not begun
	units   []*parcel    // to be committed
	over    []*parcel    // to be settled
	suspect *parcel      // it is begun when nothing else is in hand
	next    verdict.Next // how it claims
	record  []flight.Entry

	receiving, committing, settling bool
	receiver
	faults int // of the store, in a row
}

// start makes a process that joins the fleet some time later.
func (h *host) start(isolated bool, ended func(clean bool)) *process {
	w := h.w
	w.processes++
	p := &process{
		id: fmt.Sprintf("w%d", w.processes), host: h, isolated: isolated, ended: ended, life: life{w: w},
		rules: verdict.Rules{MaxCrashes: maxCrashes, Isolated: isolated}, turns: share.New(len(w.queues), nil),
		limit: 5 + w.rng.IntN(40),
	}
	p.sub = driver.Subscription{Queues: w.queues, Lease: w.lease, Worker: p.id, Suspects: isolated}
	p.away = -time.Hour
	w.fleet, w.byID[p.id] = append(w.fleet, p), p
	w.note("%s starts on %s, isolated: %t", p.id, h.name, isolated)
	return p
}

// join is the moment from which it works.
func (p *process) join() {
	p.joined, p.idleSince = true, p.w.now
	p.w.store.ears = append(p.w.store.ears, p)
	renew := p.sub.Lease / 3
	p.every(renew, p.renew)
	p.every(min(renew, time.Second), p.watch)
	p.take()
}

// concurrency is how many handlers run at once, and prefetch what waits for them.
func (p *process) concurrency() int {
	if p.isolated {
		return 1
	}
	return p.w.concurrency
}

// begin hands parcels to the slots.
func (p *process) begin(ps ...*parcel) {
	p.work = append(p.work, ps...)
	p.fill()
}

// running counts the handlers that have not returned.
func (p *process) running() (n int) {
	for _, c := range p.hand {
		if c.running {
			n++
		}
	}
	return n
}

// fill lets handlers begin while there are slots.
func (p *process) fill() {
	for len(p.work) > 0 && p.running() < p.concurrency() && !p.dead {
		c := p.work[0]
		p.work = p.work[1:]
		if err := p.rules.Admit(c.d, true); err != nil {
			p.finish(c, err)
			continue
		}
		if c.cause != nil {
			p.finish(c, c.cause)
			continue
		}
		p.enter(c)
	}
}

// crash is a death without a word.
func (p *process) crash(why string) {
	if p.dead {
		return
	}
	p.w.note("%s dies: %s; its handlers of %s had begun", p.id, why, names(p.record))
	p.end(false)
}

// end is its end, however it comes.
func (p *process) end(clean bool) {
	p.dead = true
	ears := p.w.store.ears[:0]
	for _, ear := range p.w.store.ears {
		if ear != p {
			ears = append(ears, ear)
		}
	}
	p.w.store.ears = ears
	p.ended(clean)
}

// names are the messages of a flight record.
func names(record []flight.Entry) (ids []string) {
	for _, e := range record {
		ids = append(ids, e.ID)
	}
	return ids
}

// stop makes it take no more, wait for what is in hand, and end.
func (p *process) stop(why string) {
	if p.stopping {
		return
	}
	p.w.note("%s stops: %s", p.id, why)
	p.stopping = true
	p.giveBack()
	p.after(drainTimeout, p.abort)
	p.maybeEnd()
}

// giveBack gives back what has not begun.
func (p *process) giveBack() {
	work := p.work
	p.work = nil
	if p.suspect != nil {
		work, p.suspect = append(work, p.suspect), nil
	}
	for _, c := range work {
		p.finish(c, driver.ErrShutdown)
	}
}

// abort ends the handlers' contexts, and a little later what does not care is abandoned.
func (p *process) abort() {
	p.aborted = true
	for _, c := range p.held() {
		p.cancel(c, driver.ErrShutdown)
	}
	p.after(abandonAfter, func() {
		for _, c := range p.held() {
			if c.left {
				continue
			}
			err := driver.ErrShutdown
			if c.stuck {
				err = fmt.Errorf("handler did not return: %w", driver.ErrTimeout)
				c.m.counted++
			}
			p.finish(c, err)
		}
	})
	p.maybeEnd()
}

// held is a copy of what is in hand.
func (p *process) held() []*parcel { return append([]*parcel(nil), p.hand...) }

// maybeEnd ends it when it has nothing more to do.
func (p *process) maybeEnd() {
	if p.stopping && len(p.hand) == 0 && !p.receiving && !p.dead {
		p.w.note("%s ends", p.id)
		p.end(!p.stuckness)
	}
}

// renew extends the leases of what is in hand.
func (p *process) renew() {
	var cs []*parcel
	for _, c := range p.hand {
		if !c.left {
			cs = append(cs, c)
		}
	}
	if len(cs) == 0 {
		return
	}
	asked, s, lost := p.w.now, p.w.store, map[*parcel]bool{}
	s.call(call{
		from: &p.life, name: "extend by " + p.id,
		apply: func() {
			for _, c := range cs {
				lost[c] = !s.shelf.Extend(s.now(), p.sub.Lease, c.d.Token)
			}
		},
		done: func(err error) {
			if err != nil {
				p.bad()
				return
			}
			for _, c := range cs {
				if lost[c] {
					p.cancel(c, driver.ErrLeaseLost)
					continue
				}
				c.leaseEnd = verdict.LeaseEnd(asked, p.sub.Lease)
			}
		},
	})
}

// watch ends the contexts of what could not be renewed in time.
func (p *process) watch() {
	for _, c := range p.held() {
		if p.w.now > c.leaseEnd {
			p.cancel(c, driver.ErrLeaseLost)
		}
	}
}

// bad notes a fault of the store.
func (p *process) bad() { p.faults, p.away = p.faults+1, p.w.now }

// backoff is how long to wait for the store.
func (p *process) backoff() time.Duration { return verdict.Pause(p.faults, p.w.rng.Float64()) }
