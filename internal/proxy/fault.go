package proxy

import (
	"math/rand/v2"
	"time"
)

// A Side says when a connection is cut.
type Side int

// The sides of a COMMIT. The client sees the same error on both.
const (
	Before Side = iota // the server never gets it: the transaction is rolled back
	After              // the server has replied: the transaction is committed
)

// CommitCut says which COMMITs to cut. The zero value cuts none.
type CommitCut struct {
	Side Side

	// Nth cuts the n-th COMMIT from now, and no other. Zero: Probability counts.
	Nth int

	// Probability, from 0 to 1, cuts each COMMIT by chance; Seed is that of the
	// chances.
	Probability float64
	Seed        uint64
}

// faults are what the proxy does to connections.
type faults struct {
	thawed  chan struct{} // closed unless the proxy is frozen
	delay   time.Duration
	cut     CommitCut
	chance  *rand.Rand // nil if no COMMIT is cut
	commits int        // since CutCommits was called
}

// Cut cuts all connections now, both ways and with a reset, and returns how
// many there were.
func (p *Proxy) Cut() int {
	n := p.cutAll()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Cut += n
	return n
}

// Refuse lets nobody in while it is on: new connections are refused as if no
// server ran. Connections that stand are left alone.
func (p *Proxy) Refuse(on bool) {
	if on {
		p.shut()
	} else {
		p.reopen()
	}
}

// Freeze forwards nothing while it is on: connections are half open, as if the
// other host had lost its power. New connections are accepted, and frozen, too.
// What was sent meanwhile is forwarded afterwards.
func (p *Proxy) Freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	frozen := false
	select {
	case <-p.faults.thawed:
	default:
		frozen = true
	}
	switch {
	case on && !frozen:
		p.faults.thawed = make(chan struct{})
	case !on && frozen:
		close(p.faults.thawed)
	}
}

// Delay holds what is forwarded back for a time, in each direction.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.delay = d
}

// CutCommits cuts connections at their COMMIT from now on. It replaces what was
// asked for before.
func (p *Proxy) CutCommits(c CommitCut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.cut, p.faults.commits, p.faults.chance = c, 0, nil
	if c.Nth > 0 || c.Probability > 0 {
		p.faults.chance = rand.New(rand.NewPCG(c.Seed, 0))
	}
}

// commit decides about a COMMIT that has come: cut says whether to cut, side on
// which side.
func (p *Proxy) commit() (side Side, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.faults
	p.counts.Commits++
	f.commits++
	switch {
	case f.chance == nil:
		return 0, false
	case f.cut.Nth > 0:
		cut = f.commits == f.cut.Nth
	default:
		cut = f.chance.Float64() < f.cut.Probability
	}
	return f.cut.Side, cut
}

// wasCut counts a COMMIT that was cut.
func (p *Proxy) wasCut(side Side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if side == Before {
		p.counts.CutBefore++
	} else {
		p.counts.CutAfter++
	}
}

// weather is how things stand for what is to be forwarded now.
func (p *Proxy) weather() (thawed <-chan struct{}, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults.thawed, p.faults.delay
}
