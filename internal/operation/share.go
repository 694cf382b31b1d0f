package operation

import (
	"math"
	"time"
)

// Operations are background work: they take what others leave over, and a guaranteed part
// where that is nothing (ADR 37). Of what others have too little does not matter, be it the
// store's writer, connections, processors or the workers' slots: what is divided is time.
// Letters of an operation are put back in bursts, and until the next burst there is, after
// the last one is out of the workers' hands, rest in proportion to the time that it took.

// Bounds of the part of the time that operations take.
const (
	leastShare = 0.06 // what they are guaranteed
	shareUp    = 0.1  // it grows by this at each look that finds nobody waiting
	shareDown  = 0.5  // and shrinks to this part of it when others wait
	fullShare  = 1    // no rest
	burstMost  = 8    // turns in a burst, at most
	lookPart   = 8    // of a burst that is in hand: how much later it is looked at again
)

// Times of the pacing.
const (
	burstShort = 250 * time.Millisecond // work of a burst after which the next one is larger
	burstLong  = time.Second            // and smaller
	longestGap = time.Minute            // between the beginnings of two bursts, at most
	lookFast   = 10 * time.Millisecond  // at least, until what is in hand is looked at again
)

// A Share is the part of the time that operations may take together. It grows by steps
// and shrinks by halves, so that it settles where others begin to wait.
type Share struct {
	Part   float64
	Yields string // the queue whose messages have made it small, until it is full again
}

// NewShare is what an executor begins with.
func NewShare() Share { return Share{Part: leastShare} }

// Hear tells it in which queue messages wait; empty: in none.
func (s *Share) Hear(queue string) {
	if queue != "" {
		s.Part, s.Yields = max(s.Part*shareDown, leastShare), queue
		return
	}
	if s.Part = min(s.Part+shareUp, fullShare); s.Part == fullShare {
		s.Yields = ""
	}
}

// Of is the share of each of n operations that have something to do.
func (s *Share) Of(n int) float64 {
	if s.Part == fullShare {
		return fullShare
	}
	return s.Part / float64(max(n, 1))
}

// A Sight is what a step has shown of an operation.
type Sight struct {
	Moved  int  // letters that had their turn
	Found  int  // outcomes that were found
	Flying int  // letters in flight
	InHand int  // of those that were looked at, how many a worker holds
	More   bool // more is to be looked at
	Writes bool // its letters are being written down
}

// Wants reports whether letters of the operation wait for their turn.
func (c *Course) Wants() bool { return c.State == Freezing || c.State == Running && c.Left() > 0 }

// A Duty is how one operation keeps to its share. Work is the time in which a step was
// under way, or letters were in the hands of workers: while they wait for a worker or for
// their next attempt they take nothing from anybody.
type Duty struct {
	began time.Time     // of the latest burst
	turns int           // in it: of letters, or to write some down
	size  int           // turns that make a burst
	work  time.Duration // since it began
	seen  time.Time     // the end of the latest step
	busy  bool          // letters were in hand then
}

// open reports whether a burst is under way.
func (d *Duty) open() bool { return d.turns < d.size }

// Allows reports whether letters may have their turn now.
func (d *Duty) Allows(now time.Time, share float64) bool {
	gap := now.Sub(d.began)
	if share >= fullShare || d.open() || gap >= longestGap {
		return true
	}
	return !d.busy && gap >= d.spread(share)
}

// spread is the time of which the work of a burst is the share. It is rounded up, so that
// whoever rests for it is allowed to go on afterwards.
func (d *Duty) spread(share float64) time.Duration {
	return time.Duration(math.Ceil(float64(d.work) / share))
}

// Begin begins a step, and reports whether letters may have their turn in it. A burst is
// larger than the last one if that was short: looking at it costs time, too.
func (d *Duty) Begin(now time.Time, share float64) bool {
	if !d.Allows(now, share) {
		return false
	}
	if d.open() {
		return true
	}
	switch {
	case d.work < burstShort:
		d.size = min(max(2*d.size, 1), burstMost)
	case d.work > burstLong:
		d.size = max(d.size/2, 1)
	}
	d.began, d.seen, d.turns, d.work = now, now, 0, 0
	return true
}

// End notes what a step has found that worked for so long. When letters went out of hand
// between two looks is not known: all of the time counts, so that they never have more than
// their share. When one came into hand that nobody had put there just then, half of it does.
func (d *Duty) End(now time.Time, took time.Duration, seen Sight) {
	between := now.Sub(d.seen)
	switch {
	case d.busy:
		d.work += max(between, took)
	case seen.InHand > 0:
		d.work += max(between/2, took)
	default:
		d.work += took
	}
	if seen.Moved > 0 || seen.Writes {
		d.turns++
	}
	d.busy = seen.InHand > 0 || seen.Moved > 0 && seen.Flying > 0 || d.busy && seen.More // more is to be looked at
	d.seen = now
}

// Rest is how long nothing is to be done but to look.
func (d *Duty) Rest(now time.Time, share float64) time.Duration {
	if d.Allows(now, share) {
		return 0
	}
	gap := now.Sub(d.began)
	last := longestGap - gap
	if d.busy {
		return min(max(gap/lookPart, lookFast), last)
	}
	return min(d.spread(share)-gap, last)
}
