package operation

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/mutant"
)

// An Answer is what becomes of somebody's wish to change the state of an operation.
type Answer uint8

// The answers.
const (
	Changed  Answer = iota
	Same            // it is as is wished already
	Mismatch        // its state does not allow it
)

// Turn pauses, resumes or cancels an operation, by the state that it is to have: Paused,
// Running or Cancelled.
func (c *Course) Turn(to State, now time.Time) Answer {
	from := map[State][]State{
		Paused:    {Freezing, Running},
		Running:   {Paused, Stopped},
		Cancelled: {Freezing, Running, Paused, Stopped},
	}[to]
	switch {
	case c.State == to, to == Running && c.State == Freezing:
		return Same
	case !slices.Contains(from, c.State):
		return Mismatch
	}
	stopped := c.State == Stopped
	c.State = to
	switch to {
	case Cancelled:
		c.Ended = now
	case Running:
		c.Why = ""
		if c.Past < c.Until {
			c.State = Freezing
		}
		if stopped { // what was mended is tried with care again
			c.Canaries, c.Recent = Canaries{}, ""
		}
	}
	return Changed
}

// A Lease is the right to carry an operation on, for a while. Its fence grows with each
// holder: who was slow has a lower one, and changes nothing.
type Lease struct {
	Holder string
	Fence  int64
	Until  time.Time
}

// Free reports whether nobody holds it.
func (l *Lease) Free(now time.Time) bool { return !l.Until.After(now) }

// Take gives it to somebody if it is free.
func (l *Lease) Take(holder string, length time.Duration, now time.Time) bool {
	if !l.Free(now) {
		return false
	}
	*l = Lease{Holder: holder, Fence: l.Fence + 1, Until: now.Add(length)}
	return true
}

// Stands reports whether nobody has taken it since who has this fence.
func (l *Lease) Stands(fence int64) bool { return l.Fence == fence || mutant.OperationUnfenced }

// Due reports whether it is to be renewed, though nothing else is to be written down: when a
// third of it is over, so that who looks oftener than that writes nothing.
func (l *Lease) Due(length time.Duration, now time.Time) bool {
	const parts = 3
	return l.Until.Sub(now) <= length-length/parts
}

// Renew lets its holder have it for longer.
func (l *Lease) Renew(holder string, length time.Duration, now time.Time) {
	l.Holder, l.Until = holder, now.Add(length)
}

// GiveBack ends it early, if it is still that of who has this fence.
func (l *Lease) GiveBack(fence int64) bool {
	if l.Fence != fence {
		return false
	}
	l.Holder, l.Until = "", time.Time{}
	return true
}

// A Pace is how much who carries an operation on does in a step. It does less after an error, to find
// the letter that cannot be changed.
type Pace struct {
	most int  // letters; 0: as many as fit
	skip bool // the next letter cannot be changed, and is refused
}

// Failed makes the next step smaller.
func (p *Pace) Failed(b Bounds) {
	switch {
	case p.most == 0:
		p.most = max(b.Batch/2, 1)
	case p.most > 1:
		p.most /= 2
	default:
		p.skip = true
	}
}

// Well lets the next step do as much as fits.
func (p *Pace) Well() { *p = Pace{} }
