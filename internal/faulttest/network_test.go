package faulttest_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/proxy"
)

// A cutting is a side of a COMMIT on which connections are cut.
type cutting struct {
	name  string
	side  proxy.Side
	count func(proxy.Counts) int
}

// N-1. The client sees the same error whether the server got its COMMIT or not.
// Nothing is lost or doubled, and the worker knows what it has done.
func TestACommitThatIsCutOffIsResolved(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		for _, c := range []cutting{
			{"before it is forwarded", proxy.Before, func(c proxy.Counts) int { return c.CutBefore }},
			{"after it was forwarded", proxy.After, func(c proxy.Counts) int { return c.CutAfter }},
		} {
			t.Run(c.name, func(t *testing.T) { cutCommits(t, k, c) })
		}
	})
}

func cutCommits(t *testing.T, k kind, c cutting) {
	t.Parallel()
	r := newRig(t, k, k.with(nil))
	p := proxy.New(t, k.protocol, r.server.Addr())
	r.work(p.Addr())
	r.load(p.Addr())
	cuts := times(30, 200)
	p.CutCommits(proxy.CommitCut{Side: c.side, Probability: 0.05, Seed: 1})
	r.awaitThat("enough commits are cut", func() bool { return c.count(p.Counts()) >= cuts })
	p.CutCommits(proxy.CommitCut{})
	r.healed()
	v := r.settle(c.count(p.Counts()))
	r.seen.checkTold(v.effects)
	if out := r.ledger.tally(); out[unknown] == 0 {
		t.Error("no producer lost a reply: the test shows nothing")
	}
}

// N-3. Both sides believe that the connection stands, and nothing passes. The
// workers find out, and handlers that wait for an answer end with their lease,
// which costs no attempt.
func TestAHalfOpenConnectionIsFound(t *testing.T) {
	onEachKind(t, func(t *testing.T, k kind) {
		r := newRig(t, k, k.with(nil))
		p := proxy.New(t, k.protocol, r.server.Addr())
		r.work(p.Addr())
		r.load(p.Addr())
		spells := times(1, 5)
		for spell := range spells {
			whileLoaded(500 * time.Millisecond)
			r.sendAll(linger)
			r.awaitThat("a handler is about to ask", func() bool { return r.seen.conflicts(linger) > spell })
			r.freeze(p)
		}
		r.settle(spells)
	})
}

// freeze freezes the way to the server until it was found.
func (r *rig) freeze(p *proxy.Proxy) {
	r.t.Helper()
	away, frozen := r.seen.away(), time.Now()
	p.Freeze(true)
	r.awaitThat("a worker finds out", func() bool { return r.seen.away() > away })
	r.t.Logf("a worker found out after %s", time.Since(frozen).Round(time.Millisecond))
	time.Sleep(3 * time.Second) // the handler asks in this time
	r.awaitThat("no handler hangs", r.seen.quiet)
	r.t.Logf("no handler hung after %s", time.Since(frozen).Round(time.Millisecond))
	p.Freeze(false)
	r.healed()
}
