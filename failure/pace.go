package failure

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/store"
)

// Operations are background work: they take what others leave over, and a guaranteed part
// where that is nothing (ADR 37). Of what others have too little does not matter, be it the
// store's writer, connections, processors or the workers' slots: what is divided is time.
// Letters of an operation are put back in bursts, and until the next burst there is, after
// the last one is out of the workers' hands, rest in proportion to the time that it took.

// Bounds of the part of the time that operations take.
const (
	leastShare = 0.1     // what they are guaranteed
	shareUp    = 0.1     // it grows by this at each look that finds nobody waiting
	shareDown  = 0.5     // and shrinks to this part of it when others wait
	fullShare  = 1       // no rest
	burstMost  = 8       // turns in a burst, at most
	longestGap = 60      // seconds between the beginnings of two bursts, at most
	lookPart   = 8       // of a burst that is in hand: how much later it is looked at again
	feelCost   = 1. / 50 // of the time, at most, is spent to find out whether others wait
)

// Times of the pacing.
const (
	burstShort = 250 * time.Millisecond // work of a burst after which the next one is larger
	burstLong  = time.Second            // and smaller
	lookFast   = 10 * time.Millisecond  // at least, until what is in hand is looked at again
	waitsLong  = 100 * time.Millisecond // others wait when a message is ready for longer
	feelEvery  = 250 * time.Millisecond
	servedFor  = 5 * time.Second // the list of queues that are served is believed
)

// A pace is the part of the time that operations may take together. It grows by steps
// and shrinks by halves, so that it settles where others begin to wait.
type pace struct {
	share  float64
	yields string // the queue whose messages have made it slow, until it is full again
}

func newPace() pace { return pace{share: leastShare} }

// hear tells it in which queue messages wait; empty: in none.
func (p *pace) hear(queue string) {
	if queue != "" {
		p.share, p.yields = max(p.share*shareDown, leastShare), queue
		return
	}
	if p.share = min(p.share+shareUp, fullShare); p.share == fullShare {
		p.yields = ""
	}
}

// of is the share of each of n operations that have something to do.
func (p *pace) of(n int) float64 {
	if p.share == fullShare {
		return fullShare
	}
	return p.share / float64(max(n, 1))
}

// A duty is how one operation keeps to its share. Work is the time in which a step was
// under way, or letters were in the hands of workers: while they wait for a worker or for
// their next attempt they take nothing from anybody.
type duty struct {
	began time.Time     // of the latest burst
	turns int           // in it, of letters
	size  int           // turns that make a burst
	work  time.Duration // since it began
	seen  time.Time     // the end of the latest step
	busy  bool          // letters were in hand then
}

// open reports whether a burst is under way.
func (d *duty) open() bool { return d.turns < d.size }

// allows reports whether letters may have their turn now.
func (d *duty) allows(now time.Time, share float64) bool {
	gap := now.Sub(d.began)
	if share >= fullShare || d.open() || gap >= longestGap*time.Second {
		return true
	}
	return !d.busy && float64(gap)*share >= float64(d.work)
}

// begin begins a step, and reports whether letters may have their turn in it. A burst is
// larger than the last one if that was short: looking at it costs time, too.
func (d *duty) begin(now time.Time, share float64) bool {
	if !d.allows(now, share) {
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

// end notes what a step has found that worked for so long. When letters came into hand, or
// out of it, between two looks is not known: half of the time counts.
func (d *duty) end(now time.Time, took time.Duration, a store.Advance) {
	busy := a.InHand > 0 || a.Moved > 0 && a.Operation.Flying > 0 || d.busy && a.More // more is to be looked at
	between := now.Sub(d.seen)
	switch {
	case d.busy && busy:
		d.work += max(between, took)
	case d.busy || a.InHand > 0:
		d.work += max(between/2, took)
	default:
		d.work += took
	}
	if a.Moved > 0 {
		d.turns++
	}
	d.busy, d.seen = busy, now
}

// rest is how long nothing is to be done but to look.
func (d *duty) rest(now time.Time, share float64) time.Duration {
	if d.allows(now, share) {
		return 0
	}
	gap := now.Sub(d.began)
	last := longestGap*time.Second - gap
	if d.busy {
		return min(max(gap/lookPart, lookFast), last)
	}
	return min(time.Duration(float64(d.work)/share)-gap, last)
}

// A feeler finds out whether others wait.
type feeler struct {
	store  *store.Store
	served []string
	asked  time.Time // for the served ones
	next   time.Time
}

// feel looks for messages that wait for long, and tells the pace, which stays as it is when
// that fails. It reports whether it was time to.
func (f *feeler) feel(ctx context.Context, p *pace) (looked bool, err error) {
	began := time.Now()
	if began.Before(f.next) {
		return false, nil
	}
	queue, err := f.look(ctx, began)
	took := time.Since(began)
	f.next = began.Add(max(feelEvery, time.Duration(float64(took)/feelCost)))
	if err == nil {
		p.hear(queue)
	}
	return true, err
}

func (f *feeler) look(ctx context.Context, now time.Time) (queue string, err error) {
	if now.Sub(f.asked) >= servedFor {
		if f.served, err = f.store.Served(ctx); err != nil {
			return "", err
		}
		f.asked = now
	}
	return f.store.Waits(ctx, f.served, waitsLong)
}
