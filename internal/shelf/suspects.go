package shelf

import (
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/ruling"
)

// ReleaseDead gives back what a worker holds that is known to be dead. See
// driver.Reaper.
func (s *Shelf) ReleaseDead(now time.Time, d driver.Death) (toll driver.Toll) {
	held := s.heldBy(d)
	holds := make([]ruling.Hold, len(held))
	for i, m := range held {
		holds[i] = ruling.Hold{Token: m.token, Crashes: m.crashes, Suspect: m.suspect}
	}
	word := driver.Attempt{Error: cmp.Or(d.Cause, unknownDeath), Stack: d.Evidence}
	for i, sentence := range ruling.OfDead(d, holds) {
		m := held[i]
		if sentence != ruling.Back {
			m.crash(word, "", now)
		}
		if sentence == ruling.Buried {
			s.bury(m, driver.ReasonCrashed, now)
			toll.Buried++
			continue
		}
		m.suspect = m.suspect || sentence == ruling.Accused
		m.leave()
		s.offer(m, now)
		if m.suspect {
			toll.Suspected++
		} else {
			toll.Released++
		}
	}
	return toll
}

// heldBy is what the dead worker holds, in the order of acceptance.
func (s *Shelf) heldBy(d driver.Death) (held []*message) {
	for _, m := range s.leased.ms {
		if m.worker == d.Worker || mutant.ReleasedTwice && s.everHeld(m, d) {
			held = append(held, m)
		}
	}
	slices.SortFunc(held, func(a, b *message) int { return cmp.Compare(a.seq, b.seq) })
	return held
}

// everHeld is a planted fault (package internal/mutant): a claim of the dead worker's that
// has ended counts, too.
func (s *Shelf) everHeld(m *message, d driver.Death) bool {
	return slices.ContainsFunc(d.Begun, func(t driver.Token) bool { return s.live[seqOf(t)] == m })
}

// Suspects counts the suspects of some queues that wait to be run alone.
func (s *Shelf) Suspects(queues ...string) (n int) {
	for _, q := range queues {
		if h := s.suspects[q]; h != nil {
			n += len(h.ms)
		}
	}
	return n
}

// OldestSuspect is since when the suspect waits that has waited for the longest; zero
// where there is none.
func (s *Shelf) OldestSuspect() (since time.Time) {
	for _, h := range s.suspects {
		for _, m := range h.ms {
			if since.IsZero() || m.wake.Before(since) {
				since = m.wake
			}
		}
	}
	return since
}

// KeepSuspects lets the suspects of some queues wait from now on: there is somebody who
// runs them.
func (s *Shelf) KeepSuspects(now time.Time, queues ...string) {
	for _, q := range queues {
		if h := s.suspects[q]; h != nil {
			for _, m := range h.ms {
				m.wake = now
			}
		}
	}
}

// FreeSuspects makes those ready that nobody has run alone since then. It reports whether
// there were any.
func (s *Shelf) FreeSuspects(now, since time.Time) (moved bool) {
	var old []*message
	for _, h := range s.suspects {
		for _, m := range h.ms {
			if !m.wake.After(since) {
				old = append(old, m)
			}
		}
	}
	slices.SortFunc(old, func(a, b *message) int { return cmp.Compare(a.seq, b.seq) })
	for _, m := range old {
		m.leave()
		m.suspect, m.crashes = false, max(m.crashes, ruling.FreedCrashes)
		s.offer(m, now)
	}
	return len(old) > 0
}
