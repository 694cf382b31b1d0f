package sim

import (
	"errors"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
	"github.com/posthorn/posthorn/worker/verdict"
)

// A receiver is what a process remembers about receiving.
type receiver struct {
	unsure  []driver.Delivery // of claims of whose commit it does not know the outcome
	rescued time.Duration     // when it looked for leases that ran out
	spared  bool
	away    time.Duration // when the store was away last
	waiting bool
	waits   int
}

// take claims messages while there is room.
func (p *process) take() {
	if p.stopping || p.receiving || !p.joined {
		return
	}
	if p.suspect != nil && len(p.hand) == 1 {
		c := p.suspect
		p.suspect = nil
		p.begin(c)
	}
	room := p.room()
	if room <= 0 {
		return
	}
	p.receiving = true
	p.receive(room)
}

// room is how many messages may be claimed now.
func (p *process) room() int {
	switch {
	case p.isolated || p.next == verdict.Single:
		return 1 - len(p.hand)
	case p.next == verdict.Emptied && len(p.hand) > 0:
		return 0
	}
	busy := 0
	for _, c := range p.hand {
		if !c.verdict {
			busy++
		}
	}
	free := p.concurrency() + p.w.prefetch - busy
	return min(free, p.limit-p.handled-len(p.hand))
}

// receive is one try: to rescue, to learn about claims that are unsure, to claim.
func (p *process) receive(room int) {
	p.waiting = false
	if p.stopping {
		p.received(nil)
		return
	}
	p.rescue(func(err error) {
		switch {
		case err != nil:
			p.repent()
		case len(p.unsure) > 0:
			p.recall(room)
		default:
			p.claim(room)
		}
	})
}

// repent waits after a fault.
func (p *process) repent() {
	p.bad()
	p.after(p.backoff(), func() { p.received(nil) })
}

// received goes on with what has come.
func (p *process) received(ds []driver.Delivery) {
	p.receiving = false
	if len(ds) > 0 {
		p.accept(ds)
	}
	if p.stopping {
		p.giveBack()
		p.maybeEnd()
		return
	}
	p.take()
}

// accept takes deliveries in hand.
func (p *process) accept(ds []driver.Delivery) {
	cs := make([]*parcel, len(ds))
	for i, d := range ds {
		cs[i] = &parcel{
			d: d, m: p.w.messages[d.ID], worker: p, isolated: p.isolated,
			leaseEnd: verdict.LeaseEnd(p.w.now, p.sub.Lease),
		}
		p.w.note("%s has %s, attempt %d, crashes %d, delivery %d", p.id, d.ID, d.Attempt, d.Crashes, d.Deliveries)
	}
	sorted := p.rules.Sort(ds, len(p.hand) == 0)
	p.hand = append(p.hand, cs...)
	p.next = sorted.Next
	if sorted.Alone != verdict.Nobody {
		p.suspect = cs[sorted.Alone]
	}
	for _, i := range sorted.Back {
		p.finish(cs[i], driver.ErrShutdown)
	}
	for _, i := range sorted.Begin {
		p.begin(cs[i])
	}
}

// claim takes what is there, or waits.
func (p *process) claim(room int) {
	s := p.w.store
	var ds []driver.Delivery
	var next time.Time
	s.call(call{
		from: &p.life, name: "claim by " + p.id,
		apply: func() {
			now := s.now()
			s.shelf.Promote(now)
			for _, turn := range p.turns.Plan(room, now) {
				most := min(turn.Limit, room-len(ds))
				if most <= 0 {
					break
				}
				got := s.shelf.Claim(now, p.sub, p.sub.Queues[turn.Queue], most)
				p.turns.Took(turn.Queue, most, len(got), now)
				ds = append(ds, got...)
			}
			next = s.shelf.Next()
		},
		done: func(err error) {
			switch {
			case errors.Is(err, driver.ErrOutcomeUnknown):
				p.unsure = ds
				p.repent()
			case err != nil:
				p.repent()
			case len(ds) > 0:
				p.faults = 0
				p.received(ds)
			default:
				p.faults = 0
				p.wait(room, next.Sub(s.now()))
			}
		},
	})
}

// recall finds out which of its unsure claims stand.
func (p *process) recall(room int) {
	s, n := p.w.store, min(room, len(p.unsure))
	asked := p.unsure[:n:n]
	var ds []driver.Delivery
	s.call(call{
		from: &p.life, name: "recall by " + p.id,
		apply: func() {
			for _, d := range asked {
				if s.shelf.Extend(s.now(), p.sub.Lease, d.Token) {
					ds = append(ds, d)
				}
			}
		},
		done: func(err error) {
			if err != nil {
				p.repent()
				return
			}
			p.unsure = p.unsure[n:]
			p.received(ds)
		},
	})
}

// wait tries again at a hint, when something comes due, or after a while.
func (p *process) wait(room int, due time.Duration) {
	poll := time.Second + p.w.between(0, time.Second/4)
	if due > 0 {
		poll = min(poll, due)
	}
	poll = min(poll, ruling.RescueEvery(p.sub.Lease))
	if mutant.NoPoll {
		poll = time.Hour
	}
	p.waiting = true
	p.waits++
	this := p.waits
	p.after(poll, func() {
		if p.waiting && p.waits == this {
			p.receive(room)
		}
	})
}

// hinted tells that there may be something.
func (p *process) hinted() {
	if p.waiting {
		p.receive(p.room())
	}
}

// rescue looks for leases that ran out, and for suspects that nobody runs. It calls next
// when it has.
func (p *process) rescue(next func(err error)) {
	w, s, lease := p.w, p.w.store, p.sub.Lease
	if w.now-p.rescued < ruling.RescueEvery(lease) || w.now-p.away < lease/2 {
		next(nil)
		return
	}
	p.rescued = w.now
	var (
		now     time.Time
		expired []driver.Token
		old     bool
	)
	patience := suspectPatience
	if p.isolated {
		patience /= 2
	}
	s.call(call{
		from: &p.life, name: "look by " + p.id,
		apply: func() {
			now, expired = s.now(), s.shelf.Expired(s.now())
			since := s.shelf.OldestSuspect()
			old = !since.IsZero() && !since.After(now.Add(-patience))
		},
		done: func(err error) {
			if err != nil || len(expired) == 0 && !old {
				p.spared = p.spared && err != nil
				next(err)
				return
			}
			p.rescueAll(now, expired, next)
		},
	})
}

// rescueAll rescues what a look has found, if it still is as it was found.
func (p *process) rescueAll(now time.Time, expired []driver.Token, next func(err error)) {
	w, s, asked, spared := p.w, p.w.store, p.w.now, false
	s.call(call{
		from: &p.life, name: "rescue by " + p.id,
		apply: func() {
			if p.isolated {
				s.shelf.KeepSuspects(now, p.sub.Queues...)
			}
			if s.shelf.FreeSuspects(now, now.Add(-suspectPatience)) {
				w.note("%s frees suspects", p.id)
			}
			if spared = ruling.SparesRescue(w.now-asked, p.sub.Lease, p.spared); !spared {
				w.judgeRescue(now, expired)
				s.wake()
			}
		},
		done: func(err error) {
			if p.spared = spared; spared {
				p.away = w.now
			}
			next(err)
		},
	})
}
