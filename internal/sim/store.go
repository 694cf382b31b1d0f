package sim

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/shelf"
)

// A life is somebody whose calls come back only while it lives. One that is paused hears
// of nothing until it goes on; what it has asked for happens all the same.
type life struct {
	w      *world
	dead   bool
	pauses int      // that have not ended
	missed []func() // what it will do when it goes on
}

// run does something in the name of who lives.
func (l *life) run(do func()) {
	switch {
	case l.dead:
	case l.pauses > 0:
		l.missed = append(l.missed, do)
	default:
		do()
	}
}

// pause stops it for a while.
func (l *life) pause(d time.Duration) {
	l.pauses++
	l.w.after(d, func() {
		if l.pauses > 0 {
			l.pauses--
		}
		l.resume()
	})
}

// resume does what was missed, if it goes on.
func (l *life) resume() {
	if l.pauses > 0 {
		return
	}
	missed := l.missed
	l.missed = nil
	for _, do := range missed {
		l.run(do)
	}
}

// after is run in d.
func (l *life) after(d time.Duration, do func()) { l.w.after(d, func() { l.run(do) }) }

// every is run again and again.
func (l *life) every(d time.Duration, do func()) {
	l.w.every(d, func() bool {
		l.run(do)
		return !l.dead
	})
}

// A store is the fake one: a shelf at the other end of a network.
type store struct {
	w       *world
	shelf   *shelf.Shelf
	skew    time.Duration // of its clock
	down    time.Duration // until then
	effects map[string]int
	done    int // messages
	ears    []*process
}

// now is the store's clock.
func (s *store) now() time.Time { return at(s.w.now + s.skew) }

// errAway is what a call fails with that has reached nobody.
var errAway = fmt.Errorf("connection refused: %w", driver.ErrUnavailable)

// errCut is what a call fails with whose connection was lost: it may have been committed.
func errCut() error {
	if mutant.CommitFails {
		return errAway
	}
	return fmt.Errorf("connection lost: %w: %w", driver.ErrUnavailable, driver.ErrOutcomeUnknown)
}

// A fortune is what the network does to a call.
type fortune uint8

// The fortunes.
const (
	answered fortune = iota
	refused          // it reaches nobody
	cut              // the connection is lost before the commit
	unheard          // it is committed, and the answer is lost
	belated          // the answer is lost, and it is committed some time after
	repeated         // it is answered, and is done once more later
)

// fortune draws one.
func (s *store) fortune(twice bool) fortune {
	if s.w.healed {
		return answered
	}
	switch n := s.w.rng.IntN(200); {
	case n < 4:
		return refused
	case n < 7:
		return cut
	case n < 11:
		return unheard
	case n < 14:
		return belated
	case n < 30 && twice:
		return repeated
	}
	return answered
}

// travel is how long one way takes.
func (s *store) travel() time.Duration {
	if s.w.fault(0.02) {
		return s.w.between(0, 2*time.Second)
	}
	return s.w.between(200*time.Microsecond, 5*time.Millisecond)
}

// A call is one transaction that somebody asks for.
type call struct {
	from  *life
	name  string
	apply func()          // in the store: all of it or nothing
	done  func(err error) // back at the caller; nobody waits for it if nil
	twice bool            // it may be done twice
}

// call sends it on its way.
func (s *store) call(c call) {
	luck := s.fortune(c.twice)
	s.w.after(s.travel(), func() {
		if c.from.dead && s.w.chance(0.5) {
			return // it died before all of it was sent
		}
		if s.down > s.w.now {
			luck = refused
		}
		if luck != answered {
			s.w.note("%s: %s", c.name, [...]string{"", "refused", "cut", "unheard", "belated", "repeated"}[luck])
		}
		if luck == answered || luck == unheard || luck == repeated {
			s.apply(c.apply)
		}
		if luck == belated || luck == repeated {
			s.later(c.apply)
		}
		s.answer(c, luck)
	})
}

// later applies a call that is late.
func (s *store) later(apply func()) {
	s.w.after(s.w.between(0, 6*time.Second), func() {
		if s.down <= s.w.now {
			s.apply(apply)
		}
	})
}

// answer tells the caller.
func (s *store) answer(c call, luck fortune) {
	if c.done == nil {
		return
	}
	var err error
	switch luck {
	case refused:
		err = errAway
	case cut, unheard, belated:
		err = errCut()
	}
	c.from.after(s.travel(), func() { c.done(err) })
}

// apply is one transaction.
func (s *store) apply(do func()) {
	do()
	live, dead := s.shelf.Counts()
	if sum := live + dead + s.done; sum != s.w.accepted {
		s.w.fail("S11", "%d accepted, but %d done, %d dead, %d live", s.w.accepted, s.done, dead, live)
	}
}

// wake hints all who wait. A hint may be lost, and may come late.
func (s *store) wake() {
	for _, p := range s.ears {
		if !s.w.fault(0.3) {
			p.after(s.w.between(0, 20*time.Millisecond), p.hinted)
		}
	}
}

// settle is one settlement. A planted fault makes two transactions of it.
func (s *store) settle(suspects bool, t driver.Settlement) (stood bool) {
	row, live := s.shelf.Row(t.Delivery.Token)
	if mutant.BuryInTwo && t.Verdict == driver.Bury || mutant.RetryInTwo && t.Verdict == driver.Retry {
		return s.inTwo(t, row.Token == t.Delivery.Token)
	}
	stood = s.shelf.Settle(s.now(), suspects, t)
	if !stood {
		s.w.counts.Stale++
		s.w.note("%s of %s: lease lost", t.Verdict, t.Delivery.ID)
		return false
	}
	s.w.note("%s of %s", t.Verdict, t.Delivery.ID)
	if !live || row.Token != t.Delivery.Token {
		s.w.fail("S1", "%s of %s was taken with the token of an earlier claim", t.Verdict, t.Delivery.ID)
	}
	m := s.w.messages[t.Delivery.ID]
	switch t.Verdict {
	case driver.Ack:
		s.done++
		s.w.judgeDone(m)
	case driver.Bury:
		s.w.judgeDead(m, t.Reason)
	case driver.Retry:
		s.w.judgeCounted(m, row.Attempt+1)
	}
	return true
}

// inTwo is a planted fault: between the two transactions the server may die.
func (s *store) inTwo(t driver.Settlement, stood bool) bool {
	if !stood {
		return false
	}
	lost := s.w.fault(0.2)
	m := s.w.messages[t.Delivery.ID]
	if mutant.RetryInTwo {
		ack := t
		ack.Verdict = driver.Ack
		s.shelf.Settle(s.now(), false, ack)
		if !lost {
			again := t.Delivery.Envelope
			again.Attempt, again.Delay = again.Attempt+1, t.Delay
			_ = s.shelf.Send(s.now(), again)
		}
		return true
	}
	s.w.judgeDead(m, t.Reason) // the letter is kept
	if !lost {
		s.shelf.Settle(s.now(), false, t)
	}
	return !lost
}
