package main

import (
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
// run: it works on the database that the second argument names until its
// standard input ends, and reports on its standard output.
const asWorker = "as-worker"

// An order is what a worker process is to do.
type order struct {
	subject
	Address     string
	Concurrency int
	Until       int // say "done" after so many messages; 0: never
	Times       int // messages whose latency is wanted
	Idle        bool
	Settle      time.Duration // how long it starts up before it counts as idle
}

// The lines that a worker process says before its report.
const (
	lineReady = "ready"
	lineDone  = "done"
)

// A report is what a worker process found.
type report struct {
	Seen      int
	Latencies []time.Duration // from the start of the dispatch to the entry of the handler, sorted
	CPU       time.Duration   // used while it was idle
	Span      time.Duration   // how long that was
	Memory    memory
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

// follow works until standard input ends.
func follow(ctx context.Context, b bus, o order) (report, error) {
	c := &counter{until: int64(o.Until), times: make([]time.Duration, o.Times)}
	working, stop := context.WithCancel(ctx)
	var failed error
	var worker sync.WaitGroup
	worker.Go(func() { failed = b.work(working, load{concurrency: o.Concurrency, seen: c.note}) })
	fmt.Println(lineReady)
	var rep report
	err := c.attend(ctx, o, &rep)
	stop()
	worker.Wait()
	rep.Seen = int(c.seen.Load())
	rep.Latencies = c.times[:min(rep.Seen, len(c.times))]
	slices.Sort(rep.Latencies)
	return rep, errors.Join(err, failed)
}

// A counter sees the messages of a worker process.
type counter struct {
	seen  atomic.Int64
	until int64
	times []time.Duration
}

// note is the handler.
func (c *counter) note(n note) {
	entered := time.Now()
	i := c.seen.Add(1)
	if int(i) <= len(c.times) {
		c.times[i-1] = entered.Sub(time.Unix(0, n.Sent))
	}
	if i == c.until {
		fmt.Println(lineDone)
	}
}

// attend waits for the end of standard input and takes the figures.
func (c *counter) attend(ctx context.Context, o order, rep *report) (err error) {
	var before time.Duration
	if o.Idle {
		pause(ctx, o.Settle)
		if before, err = cpuTime(); err != nil {
			return err
		}
	}
	began := time.Now()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if o.Idle {
		after, err := cpuTime()
		if err != nil {
			return err
		}
		rep.CPU, rep.Span = after-before, time.Since(began)
	}
	rep.Memory, err = memoryUsed()
	return err
}
