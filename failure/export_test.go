package failure

import (
	"time"

	"github.com/posthorn/posthorn/internal/operation"
	"github.com/posthorn/posthorn/store"
)

// Pauses is how long an executor with a lease waits after each of some steps, which take a
// millisecond each.
func Pauses(lease time.Duration, steps ...store.Advance) (out []time.Duration) {
	w := operation.Watch{Lease: lease}
	for _, a := range steps {
		out = append(out, w.After(sightOf(a), a.Wait, time.Millisecond))
	}
	return out
}

// A Pacing is the pacing of one operation, by a clock of its own.
type Pacing struct {
	share operation.Share
	duty  operation.Duty
	now   time.Time
}

// NewPacing is what an executor begins with.
func NewPacing() *Pacing { return &Pacing{share: operation.NewShare(), now: time.Now()} }

// Hear tells in which queue messages wait.
func (p *Pacing) Hear(queue string) { p.share.Hear(queue) }

// Share is the part of the time that all operations may take, and for which queue's sake.
func (p *Pacing) Share() (share float64, yields string) { return p.share.Part, p.share.Yields }

// Each is the share of one of n operations.
func (p *Pacing) Each(n int) float64 { return p.share.Of(n) }

// Begin begins a step, and reports whether letters may have their turn.
func (p *Pacing) Begin() bool { return p.duty.Begin(p.now, p.share.Part) }

// End ends a step that took so long.
func (p *Pacing) End(took time.Duration, a store.Advance) {
	p.now = p.now.Add(took)
	p.duty.End(p.now, took, sightOf(a))
}

// Pass lets time pass.
func (p *Pacing) Pass(d time.Duration) { p.now = p.now.Add(d) }

// Rest lets the rest pass that is due, and says how long it was.
func (p *Pacing) Rest() time.Duration {
	d := p.duty.Rest(p.now, p.share.Part)
	p.now = p.now.Add(d)
	return d
}
