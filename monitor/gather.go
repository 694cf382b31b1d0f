package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/posthorn/posthorn/store"
)

// Sources are where readings come from.
type Sources struct {
	// Open opens the store. It is called in each round until it succeeds, so that
	// a monitor may be started before its store. The caller closes the store.
	Open func(ctx context.Context) (*store.Store, error)
	// Queues are those that the configuration knows.
	Queues []QueueName
	// MemoryLimits are those of the processes of programs, in bytes, for workers
	// that do not tell their own.
	MemoryLimits map[string]int64
	// Programs asks this host's supervisor; nil: there is none.
	Programs func(ctx context.Context) ([]Program, error)
	// Paused lists the queues that are paused, with the reasons; nil: none can be.
	Paused func(ctx context.Context) (map[string]string, error)
	// Alerts asks which channels do not take alerts, of the store; nil: there are no channels.
	Alerts func(ctx context.Context) ([]Undelivered, error)
	// Explain says what an error of the store means and what to try; nil says the
	// error's text.
	Explain func(err error) (what, try string)
	// LogDir is the directory of log files; empty: none are written.
	LogDir string
	Host   string        // empty means the name of this host
	Within time.Duration // bounds one reading; 0 means 10 s
}

// A QueueName is a queue with its transport.
type QueueName struct{ Name, Transport string }

// DefaultWithin bounds one reading.
const DefaultWithin = 10 * time.Second

// lanes is how many parts are read at once: connections are scarce when it
// matters, and one part that hangs must leave a way for the others.
const lanes = 3

// A Gatherer makes readings. What hangs makes its own part unknown and nothing
// else: it is left behind, and not begun again before it has ended. Gather is
// for one goroutine.
type Gatherer struct {
	src   Sources
	store *store.Store
	last  time.Time     // when the previous reading began, by a clock that never jumps
	skew  time.Duration // of the store's clock, as last seen
	file  string        // of the store, once known
	waits map[string]int64

	mu   sync.Mutex
	busy map[piece]time.Time
	wg   sync.WaitGroup
}

// NewGatherer makes a Gatherer.
func NewGatherer(src Sources) *Gatherer {
	src.Within = cmp.Or(src.Within, DefaultWithin)
	if src.Host == "" {
		src.Host, _ = os.Hostname()
	}
	if src.Explain == nil {
		src.Explain = func(err error) (string, string) { return err.Error(), "doctor" }
	}
	return &Gatherer{src: src, waits: map[string]int64{}, busy: map[piece]time.Time{}}
}

// Gather makes a reading within the bound of the sources. It does not fail:
// what could not be read says so.
func (g *Gatherer) Gather(ctx context.Context) Reading {
	began := time.Now()
	r := Reading{At: began.Add(g.skew), Host: g.src.Host}
	if !g.last.IsZero() {
		r.Elapsed = began.Sub(g.last)
	}
	g.last = began
	ctx, cancel := context.WithTimeoutCause(ctx, g.src.Within, errSlow)
	defer cancel()
	g.greet(ctx, &r)
	looks := g.hostLooks()
	if r.Store.Value.Reachable {
		looks = append(looks, g.storeLooks()...)
	} else {
		g.blank(&r)
	}
	for _, set := range g.lookAll(ctx, looks) {
		set(&r)
	}
	return r
}

// Close waits for what was left behind, as long as ctx lives. The error says
// that something still hangs.
func (g *Gatherer) Close(ctx context.Context) error {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { g.wg.Wait(); close(ended) })
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end readings: %w", context.Cause(ctx))
	}
}

// errSlow is why a part could not be read in time.
var errSlow = errors.New("it did not answer in time")

// A look reads one part. What it returns enters the part into the reading.
type look struct {
	piece piece
	read  func(ctx context.Context) func(*Reading)
	fail  func(why string) func(*Reading)
}

// lookAt makes a look at a part.
func lookAt[T any](name piece, part func(*Reading) *Part[T], read func(ctx context.Context) (T, error)) look {
	fail := func(why string) func(*Reading) { return func(r *Reading) { *part(r) = Missing[T](why) } }
	return look{piece: name, fail: fail, read: func(ctx context.Context) func(*Reading) {
		v, err := read(ctx)
		switch {
		case errors.Is(err, errAbsent):
			return func(r *Reading) { *part(r) = None[T]() }
		case err != nil && context.Cause(ctx) != nil:
			return fail(context.Cause(ctx).Error())
		case err != nil:
			return fail(err.Error())
		}
		return func(r *Reading) { *part(r) = Is(v) }
	}}
}

// errAbsent says that there is no such part here.
var errAbsent = errors.New("there is none here")

// lookAll runs looks on a few lanes until all are done or ctx ends.
func (g *Gatherer) lookAll(ctx context.Context, looks []look) []func(*Reading) {
	type seen struct {
		i   int
		set func(*Reading)
	}
	sets := make([]func(*Reading), len(looks))
	results := make(chan seen, len(looks)) // nobody waits to hand over
	next := make(chan int, len(looks))
	for i, l := range looks {
		if since, busy := g.isBusy(l.piece); busy {
			sets[i] = l.fail("it has not answered for " + span(time.Since(since)))
			continue
		}
		sets[i] = l.fail(errSlow.Error())
		next <- i
	}
	close(next)
	missing := len(next)
	lane := func() {
		for i := range next {
			if ctx.Err() == nil {
				results <- seen{i, g.read(ctx, looks[i])}
			}
		}
	}
	for range min(lanes, missing) {
		g.wg.Go(lane)
	}
	for ; missing > 0; missing-- {
		select {
		case s := <-results:
			sets[s.i] = s.set
		case <-ctx.Done():
			for len(results) > 0 { // what has come in meanwhile
				s := <-results
				sets[s.i] = s.set
			}
			return sets
		}
	}
	return sets
}

func (g *Gatherer) isBusy(p piece) (since time.Time, busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	since, busy = g.busy[p]
	return since, busy
}

// read takes one look, and notes for how long.
func (g *Gatherer) read(ctx context.Context, l look) func(*Reading) {
	note := func(begins bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if begins {
			g.busy[l.piece] = time.Now()
		} else {
			delete(g.busy, l.piece)
		}
	}
	note(true)
	defer note(false)
	return l.read(ctx)
}
