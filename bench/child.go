package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// asWorker as the first argument makes the program the worker process of a
// run: it opens the database that the second argument names, says so, waits for
// a line on its standard input, works until that ends, and reports on its
// standard output.
const asWorker = "as-worker"

// An order is what a worker process is to do.
type order struct {
	subject
	Address     string
	Concurrency int
	Pause       time.Duration // how long each handler takes
	Until       int           // say "done" after so many messages; 0: never
	Times       int           // messages whose latency is wanted
	Warm        int           // messages before them whose latency does not count
	History     bool          // say often how many were seen, and report when
	Idle        bool
	Settle      time.Duration // how long it starts up before it counts as idle
	Insert      bool          // each handler has an INSERT
	Failing     int           // percent of the messages fail once, after it
	Messages    int           // how many there are, where some fail

	program string // that is to be started; empty: this one
}

// The lines that a worker process says before its report.
const (
	lineReady = "ready"
	lineDone  = "done"
	lineSeen  = "seen %d"
)

// telling is how often a process says how many messages it has seen.
const telling = 20 * time.Millisecond

// A report is what a worker process found.
type report struct {
	Seen      int
	Latencies []time.Duration // from the start of the dispatch to the entry of the handler, sorted
	History   history
	CPU       time.Duration // from the start of its worker to the end of it; while it was idle
	Span      time.Duration // how long it was idle
	Memory    memory
	Without   []string // safety features that the program lacks
}

// obey is the worker process.
func obey(ctx context.Context, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	i := slices.IndexFunc(systems(), func(s system) bool { return s.subject == o.subject })
	if i < 0 {
		return fmt.Errorf("read order: there is no system %v", o.subject)
	}
	if o.Store == "sqlite" && o.System != ours {
		if err := likePosthorn(); err != nil {
			return fmt.Errorf("set up SQLite: %w", err)
		}
	}
	b, err := systems()[i].open(ctx, o.Address, load{concurrency: o.Concurrency})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	rep, err := follow(ctx, b, o)
	if err := errors.Join(err, b.close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(rep)
}

// follow waits for its line, and works until standard input ends.
func follow(ctx context.Context, b bus, o order) (report, error) {
	in := bufio.NewReader(os.Stdin)
	fmt.Println(lineReady)
	if _, err := in.ReadString('\n'); err != nil {
		return report{}, fmt.Errorf("wait for the start: %w", err)
	}
	before, err := cpuTime()
	if err != nil {
		return report{}, err
	}
	c := newCounter(o)
	working, stop := context.WithCancel(ctx)
	var failed error
	var worker sync.WaitGroup
	worker.Go(func() { failed = b.work(working, o.load(c.note)) })
	if c.line != nil {
		worker.Go(func() { c.tell(working) })
	}
	rep, err := c.attend(ctx, o, in)
	stop()
	worker.Wait()
	if !o.Idle { // else the end of the worker would count
		after, unknown := cpuTime()
		rep.CPU, err = after-before, errors.Join(err, unknown)
	}
	c.report(&rep)
	return rep, errors.Join(err, failed)
}

// load is what the handlers of the process do.
func (o order) load(seen func(note)) load {
	l := load{insert: o.Insert, concurrency: o.Concurrency, seen: seen}
	if o.Failing > 0 {
		l.faults = newFaults(o.Failing, o.Messages)
	}
	return l
}

// A counter sees the messages of a worker process.
type counter struct {
	seen  atomic.Int64
	until int64
	pause time.Duration
	warm  int
	times []time.Duration // of the messages after the first ones
	line  *timeline       // or nil
}

func newCounter(o order) *counter {
	c := &counter{until: int64(o.Until), pause: o.Pause, warm: o.Warm, times: make([]time.Duration, o.Times)}
	if o.History {
		c.line = newTimeline()
	}
	return c
}

// note is the handler.
func (c *counter) note(n note) {
	entered := time.Now()
	i := c.seen.Add(1)
	if at := int(i) - 1 - c.warm; at >= 0 && at < len(c.times) {
		c.times[at] = entered.Sub(time.Unix(0, n.Sent))
	}
	if c.line != nil {
		c.line.note()
	}
	if c.pause > 0 {
		pause(context.Background(), c.pause)
	}
	if i == c.until {
		fmt.Println(lineDone)
	}
}

// tell says how many messages were seen until ctx ends.
func (c *counter) tell(ctx context.Context) {
	for said := int64(0); ctx.Err() == nil; pause(ctx, telling) {
		if seen := c.seen.Load(); seen != said {
			fmt.Printf(lineSeen+"\n", seen)
			said = seen
		}
	}
}

// attend waits for the end of standard input and takes the figures.
func (c *counter) attend(ctx context.Context, o order, in io.Reader) (rep report, err error) {
	var before time.Duration
	if o.Idle {
		pause(ctx, o.Settle)
		if before, err = cpuTime(); err != nil {
			return rep, err
		}
	}
	began := time.Now()
	if _, err := io.Copy(io.Discard, in); err != nil {
		return rep, err
	}
	if o.Idle {
		after, err := cpuTime()
		if err != nil {
			return rep, err
		}
		rep.CPU, rep.Span = after-before, time.Since(began)
	}
	rep.Memory, err = memoryUsed()
	return rep, err
}

// report fills in what the handlers saw.
func (c *counter) report(rep *report) {
	rep.Seen, rep.Without = int(c.seen.Load()), missing()
	rep.Latencies = c.times[:max(0, min(rep.Seen-c.warm, len(c.times)))]
	slices.Sort(rep.Latencies)
	if c.line != nil {
		rep.History = c.line.history()
	}
}
