package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/worker/verdict"
)

// enter begins a handler.
func (p *process) enter(c *parcel) {
	m := c.m
	c.begun, c.running = true, true
	p.recordIn(c)
	if _, live := p.w.store.shelf.Row(c.d.Token); live { // else it is a claim of an earlier life
		m.starts++
	}
	p.w.note("%s enters the handler of %s", p.id, m.id)
	p.w.judgeStart(p, c)
	p.after(handlerTimeout, func() {
		if c.running {
			p.timeout(c)
		}
	})
	switch {
	case m.hangs > 0:
		m.hangs--
		m.deaf = true
		p.after(handlerTimeout+stuckGrace, func() { p.noteStuck(c) })
	case m.kills > 0 && !m.inEffect:
		p.after(m.slow, func() {
			if c.running {
				p.kill(m)
			}
		})
	default:
		p.after(m.slow, func() { p.returned(c, m.outcome(false)) })
	}
}

// kill is what a handler does that kills its process.
func (p *process) kill(m *message) {
	m.kills--
	m.killed++
	p.killer = m
	p.w.judgeKill(m)
	p.crash("killed by " + m.id)
}

// outcome is what the slow part or the effect of a message's handler returns.
func (m *message) outcome(effect bool) error {
	if m.inEffect != effect {
		return nil
	}
	switch {
	case m.snoozes > 0:
		m.snoozes--
		return posthorn.Snooze(time.Second)
	case m.fails > 0:
		m.fails--
		if posthorn.ClassOf(m.why).Counts() {
			m.counted++
		}
		return m.why
	}
	return nil
}

// recordIn and recordOut keep the flight record, which outlives the process.
func (p *process) recordIn(c *parcel) {
	p.record = append(p.record, flight.Entry{Token: c.d.Token, ID: c.d.ID})
}

func (p *process) recordOut(c *parcel) {
	for i, e := range p.record {
		if e.Token == c.d.Token {
			p.record = append(p.record[:i:i], p.record[i+1:]...)
			return
		}
	}
}

// noteStuck accounts a handler that does not return.
func (p *process) noteStuck(c *parcel) {
	if !c.running {
		return
	}
	c.stuck, p.stuckness = true, true
	p.stop("the handler of " + c.d.ID + " is stuck")
}

// cancel ends the context of a parcel, with its lease or with the worker.
func (p *process) cancel(c *parcel, cause error) {
	if c.cause == nil {
		c.cause = cause
		p.w.note("%s ends the context of %s: %v", p.id, c.d.ID, cause)
	}
	p.interrupt(c, c.cause)
}

// timeout ends the context of the slow part alone.
func (p *process) timeout(c *parcel) {
	p.w.note("the handler of %s runs into its deadline", c.d.ID)
	c.late = true
	p.interrupt(c, driver.ErrTimeout)
}

// interrupt makes a handler return whose context has ended. Most handlers care.
func (p *process) interrupt(c *parcel, cause error) {
	if c.running && !c.m.deaf {
		p.after(time.Millisecond, func() { p.returned(c, fmt.Errorf("%w: gave up", cause)) })
	}
}

// returned goes on with a handler that returned err: its effect is to be committed, or it
// is decided about.
func (p *process) returned(c *parcel, err error) {
	if !c.running {
		return
	}
	c.running = false
	p.recordOut(c)
	cause := c.cause
	if c.late {
		cause = driver.ErrTimeout
	}
	if err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if posthorn.ClassOf(err) == driver.ClassTimeout {
		c.m.counted++
	}
	if err == nil && c.m.transactional {
		p.units = append(p.units, c)
		p.commit()
	} else {
		p.finish(c, err)
	}
	p.fill()
}

// effect runs the effect of a unit in a transaction.
func (c *parcel) effect() error {
	if c.worker.dead {
		return errAway
	}
	return c.m.outcome(true)
}

// finish decides what becomes of a parcel that ended with err.
func (p *process) finish(c *parcel, err error) {
	if c.left {
		return
	}
	c.left = true
	if errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, verdict.ErrCrashed) {
		err = &posthorn.InfrastructureError{Err: err}
	}
	out := verdict.Decide(policy(), c.d, err, p.host.wall())
	if err != nil && verdict.Noted(out.Class) {
		c.line = &driver.Attempt{Number: c.d.Attempt + 1, Worker: p.id, Class: out.Class, Error: err.Error()}
	}
	c.settlement = verdict.Settlement(c.d, out, c.line)
	c.verdict = true
	p.w.note("%s decides about %s: %s, %s", p.id, c.d.ID, out.Verdict, out.Class)
	p.over = append(p.over, c)
	p.settle()
	p.take()
}

// settle settles what has ended, as much together as there is.
func (p *process) settle() {
	if p.settling || len(p.over) == 0 {
		return
	}
	p.settling = true
	cs := p.over
	p.over = nil
	p.settleAll(cs)
}

func (p *process) settleAll(cs []*parcel) {
	s := p.w.store
	p.w.store.call(call{
		from: &p.life, name: "settle by " + p.id,
		apply: func() {
			for _, c := range cs {
				s.settle(p.isolated, c.settlement)
			}
			s.wake()
		},
		done: func(err error) {
			next := verdict.Settled(err, errors.Is(err, driver.ErrUnavailable), len(cs))
			if next == verdict.Again && !p.aborted {
				p.bad()
				p.after(p.backoff(), func() { p.settleAll(cs) })
				return
			}
			p.settling = false
			p.release(cs)
			p.settle()
		},
	})
}

// release lets go of parcels.
func (p *process) release(cs []*parcel) {
	for _, c := range cs {
		p.handled++
		for i, held := range p.hand {
			if held == c {
				p.hand = append(p.hand[:i:i], p.hand[i+1:]...)
				break
			}
		}
	}
	p.idleSince = p.w.now
	if p.handled >= p.limit {
		p.stop("its limit of messages is reached")
	}
	p.maybeEnd()
	p.take()
}

// commit commits effects with their acknowledgements. An effect that kills its process
// does so before the commit, and the record names it alone.
func (p *process) commit() {
	if p.committing || len(p.units) == 0 || p.dead {
		return
	}
	p.committing = true
	cs := p.units
	p.units = nil
	for _, c := range cs {
		if c.m.kills > 0 && c.cause == nil {
			p.recordIn(c)
			p.kill(c.m)
			return
		}
	}
	p.w.store.transact(p, cs, func(errs []error) { p.committed(cs, errs) })
}

// committed goes on with units.
func (p *process) committed(cs []*parcel, errs []error) {
	var done []*parcel
	away := false
	for i, c := range cs {
		if errs[i] == nil {
			if !c.left {
				c.left, c.verdict = true, true
				done = append(done, c)
			}
			continue
		}
		course, err := verdict.Uncommitted(errs[i], c.cause == nil && !p.aborted)
		switch course {
		case verdict.Wait:
			p.units, away = append(p.units, c), true
		case verdict.LetGo:
			p.w.note("%s lets go of %s: %v", p.id, c.d.ID, err)
			c.left, c.verdict, away = true, true, true
			done = append(done, c)
		case verdict.Finish, verdict.Strand:
			p.finish(c, err)
		}
	}
	next := func() {
		p.committing = false
		p.commit()
	}
	p.release(done)
	if !away {
		next()
		return
	}
	p.bad()
	p.after(p.backoff(), next)
}
