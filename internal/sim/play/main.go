// Command play plays seeds of the simulator. It ends with 1 at the first one in which a
// promise is broken, with the seed that repeats it and the last lines of its trace.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/sim"
)

// reportEvery is how often it says how far it is.
const reportEvery = time.Minute

func main() {
	seeds := flag.Uint64("seeds", 1000, "how many to play")
	from := flag.Uint64("from", 1, "the first one")
	seed := flag.Uint64("seed", 0, "play this one alone")
	verbose := flag.Bool("v", false, "print the whole trace of -seed")
	jobs := flag.Int("jobs", runtime.GOMAXPROCS(0), "how many to play at a time")
	flag.Parse()
	if *seed > 0 {
		os.Exit(one(*seed, *verbose))
	}
	os.Exit(many(*from, *seeds, *jobs))
}

// one plays a seed.
func one(seed uint64, verbose bool) int {
	var out io.Writer
	if verbose {
		out = os.Stdout
	}
	r := sim.Run(seed, out)
	if r.Broken == "" {
		fmt.Printf("seed %d: all promises held in %d steps; trace %016x\n", seed, r.Steps, r.Hash)
		return 0
	}
	if !verbose {
		fmt.Print(r.Tail)
	}
	fail(r)
	return 1
}

// fail prints what was broken, and how to see it again.
func fail(r sim.Result) {
	fmt.Printf("broken: %s\nseed %d, step %d, trace %016x; again: go run ./internal/sim/play -seed %d -v\n",
		r.Broken, r.Seed, r.Steps, r.Hash, r.Seed)
}

// A match is a run of many seeds.
type match struct {
	next   atomic.Uint64 // seed
	mu     sync.Mutex
	counts sim.Counts
	worst  *sim.Result // the broken one with the lowest seed
}

// many plays seeds, some at a time.
func many(from, seeds uint64, jobs int) int {
	began, m := time.Now(), &match{}
	m.next.Store(from)
	var wg sync.WaitGroup
	for range max(jobs, 1) {
		wg.Go(func() { m.play(from + seeds) })
	}
	done := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() { m.tell(done, began) })
	wg.Wait()
	close(done)
	teller.Wait()
	m.report(began)
	if m.worst == nil {
		return 0
	}
	fmt.Print(m.worst.Tail)
	fail(*m.worst)
	return 1
}

// play plays the next seed again and again, until the last one or a broken one.
func (m *match) play(end uint64) {
	for {
		seed := m.next.Add(1) - 1
		if seed >= end {
			return
		}
		r := sim.Run(seed, nil)
		if !m.add(r) {
			return
		}
	}
}

// add counts a run. It reports whether to go on.
func (m *match) add(r sim.Result) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Add(r.Counts)
	if r.Broken != "" && (m.worst == nil || r.Seed < m.worst.Seed) {
		m.worst = &r
	}
	return m.worst == nil
}

// tell says now and then how far it is.
func (m *match) tell(done <-chan struct{}, began time.Time) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.report(began)
		case <-done:
			return
		}
	}
}

func (m *match) report(began time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, broken := m.counts, 0
	if m.worst != nil {
		broken = 1
	}
	fmt.Printf("%d seeds in %.0f s, %d broken: %s\n", c.Runs, time.Since(began).Seconds(), broken, &c)
}
