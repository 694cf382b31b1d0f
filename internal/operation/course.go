// Package operation decides how bulk work on dead letters goes on: which letters have
// their turn, when it stops by itself, what became of what was sent, when it is over, and
// who may carry it on (ADR 32). It knows no database and reads no clock. The store carries
// out what it says in SQL, the simulator in memory, so that what is played is what runs.
package operation

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/mutant"
)

// A State is where an operation stands.
type State string

// The states.
const (
	Freezing  State = "freezing"  // its letters are being written down
	Running   State = "running"   // its letters get their turns
	Paused    State = "paused"    // by somebody, until somebody resumes it
	Stopped   State = "stopped"   // by itself, since too many failed again
	Cancelled State = "cancelled" // what had no turn is a dead letter still
	Done      State = "done"      // of each it is known what became of it
)

// Bounds are those of what an operation does at a time.
type Bounds struct {
	Freeze int   // letters that are written down in one transaction
	Batch  int   // letters that have their turn in one
	Bytes  int64 // of their bodies in one, but for the first
	Look   int   // letters in flight that are looked at in one
	// Flying bounds the letters in flight: so many at most have gone back before it is known
	// that they fail again.
	Flying int
	Recent int    // outcomes by which it stops itself
	Stages [2]int // letters that the careful beginning tries
}

// Usual are the bounds of the real thing.
func Usual() Bounds {
	return Bounds{Freeze: 1000, Batch: 200, Bytes: 4 << 20, Look: 500, Flying: 2000, Recent: 20, Stages: [2]int{1, 10}}
}

// A Course is how far an operation is.
type Course struct {
	State  State
	Why    string // it has stopped
	Waits  bool   // its letters fly: they are sent, and what becomes of them is waited for
	Canary bool
	Rate   float64 // letters per second; 0: as fast as others allow

	Total, Done, Failed, Flying, Gone, Refused int
	Canaries                                   Canaries
	Recent                                     string // the latest outcomes, + or -, the oldest first
	Began, Ended                               time.Time

	Past   int64     // the last letter that was written down
	Until  int64     // the last one that is meant
	Most   int       // letters at most; 0: no bound
	Looked int64     // the last one in flight that was looked at
	Next   time.Time // when the rate allows another one
}

// Canaries are how far the careful beginning is.
type Canaries struct {
	Stage  int // of the stages, and then the rest
	Tried  int // letters in this stage
	Failed int // of them, so far
}

// Left is the number of letters that have had no turn.
func (c *Course) Left() int { return c.Total - c.Done - c.Failed - c.Flying - c.Gone - c.Refused }

// Active reports whether there is something to do: letters that wait for their turns,
// or some in flight, of which it is to be found out what became of them.
func (c *Course) Active() bool { return c.State == Freezing || c.State == Running || c.Flying > 0 }

// Over reports whether nothing more will become of it.
func (c *Course) Over() bool { return (c.State == Done || c.State == Cancelled) && c.Flying == 0 }

// toFreeze is how many letters may be written down.
func (c *Course) toFreeze(b Bounds) int {
	if c.Most > 0 {
		return min(b.Freeze, c.Most-c.Total)
	}
	return b.Freeze
}

// froze notes that some letters are written down, and up to which all have been judged.
// When all that are meant are, the operation runs.
func (c *Course) froze(n int, past int64, now time.Time) {
	c.Past = past
	c.Total += n
	if c.Past >= c.Until || c.Most > 0 && c.Total >= c.Most {
		c.State, c.Began, c.Past = Running, now, c.Until
	}
}

// Allowed is how many letters may have their turn now.
func (c *Course) Allowed(b Bounds, now time.Time) int {
	if c.State != Running || c.Next.After(now) {
		return 0
	}
	n := min(b.Batch, c.Left())
	if c.Waits {
		n = min(n, b.Flying-c.Flying)
	}
	if c.careful(b) {
		n = min(n, b.Stages[c.Canaries.Stage]-c.Canaries.Tried)
	}
	if c.Rate > 0 {
		const burst = 0.2 // seconds
		n = min(n, int(max(1, c.Rate*burst)))
	}
	return max(n, 0)
}

// careful reports whether it is at its careful beginning.
func (c *Course) careful(b Bounds) bool { return c.Canary && c.Canaries.Stage < len(b.Stages) }

// took adds letters that had their turn.
func (c *Course) took(found Fates, now time.Time) {
	c.Done += len(found[FateDone])
	c.Flying += len(found[FateFlying])
	c.Gone += len(found[FateGone])
	c.Refused += len(found[FateRefused])
	c.Canaries.Tried += len(found[FateFlying])
	c.pay(len(found[FateFlying])+len(found[FateDone]), now)
}

// pay lets the rate wait for letters that had their turn.
func (c *Course) pay(n int, now time.Time) {
	if c.Rate <= 0 || n <= 0 {
		return
	}
	if c.Next.Before(now) {
		c.Next = now
	}
	const second = 1000
	c.Next = c.Next.Add(time.Duration(math.Ceil(float64(n)*second/c.Rate)) * time.Millisecond)
}

// note adds the outcome of a letter that was in flight.
func (c *Course) note(b Bounds, ok bool) {
	c.Flying--
	sign := "+"
	if ok {
		c.Done++
	} else {
		c.Failed++
		c.Canaries.Failed++
		sign = "-"
	}
	c.Recent += sign
	c.Recent = c.Recent[max(0, len(c.Recent)-b.Recent):]
}

// judge goes on to the next stage, or stops the operation, by the outcomes so far. It
// reports whether it was stopped.
func (c *Course) judge(b Bounds) bool {
	if c.State != Running {
		return false
	}
	failed := strings.Count(c.Recent, "-")
	if len(c.Recent) == b.Recent && 2*failed > b.Recent {
		return c.stop(fmt.Sprintf("%d of the last %d failed again", failed, b.Recent))
	}
	now := c.Canaries
	ended := c.Flying == 0 || mutant.CanaryEarly
	switch {
	case !c.careful(b) || !ended || now.Tried == 0 || now.Tried < b.Stages[now.Stage] && c.Left() > 0:
		return false
	case 2*now.Failed > now.Tried:
		return c.stop(fmt.Sprintf("%d of %d canaries failed again", now.Failed, now.Tried))
	}
	c.Canaries = Canaries{Stage: now.Stage + 1}
	return false
}

func (c *Course) stop(why string) bool {
	c.State, c.Why = Stopped, why
	return true
}

// finish ends an operation of which nothing is left.
func (c *Course) finish(now time.Time) bool {
	if c.State != Running || c.Left() > 0 || c.Flying > 0 {
		return false
	}
	c.State, c.Ended = Done, now
	return true
}
