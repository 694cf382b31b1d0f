package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// handlerTime is how long a handler takes where the store is not to be the
// limit, and handlersBusy how many of them run at once: together they allow a
// process 3,200 messages a second, whatever the store can do.
const (
	handlerTime  = 5 * time.Millisecond
	handlersBusy = 16
)

// crewWorks are the works of several worker processes on one store.
func crewWorks() []work {
	// Watermill hands out one message at a time to all subscribers together,
	// and backlite is for one process.
	of := []string{ours, "river", "gue", "goqite", "asynq"}
	return []work{
		{
			name: "workers", of: of, large: true,
			figures: crewFigures("handler of 5 ms, concurrency 16"),
			run: func(ctx context.Context, r *rig, s system) (map[string]float64, error) {
				return crews(ctx, r, s, shift{order{Concurrency: handlersBusy, Pause: handlerTime}, r.busyBacklog, steadyRate})
			},
		},
		{
			name: "workers-no-op", of: of, twin: true,
			figures: crewFigures("no-op handler"),
			run: func(ctx context.Context, r *rig, s system) (map[string]float64, error) {
				all := func(s system, _ int) int { return r.backlog(s, load{}) }
				return crews(ctx, r, s, shift{order{}, all, wholeRate})
			},
		},
	}
}

// busyBacklog is for about a second, or two for systems that do not get as far
// as their handlers allow.
func (r *rig) busyBacklog(s system, processes int) int {
	allowed := 2 * r.spell.Seconds() * handlersBusy / handlerTime.Seconds()
	return max(min(int(allowed)*processes, 2*r.backlog(s, load{})), 50)
}

// A crewRun is what came out of a run.
type crewRun struct {
	n       int
	history history
	took    time.Duration // from the start until nothing was left
	cpu     time.Duration // of all processes
	without []string      // safety features that the programs lack
}

// steadyRate leaves out what starts and what ends a run. It looks at when
// handlers were entered, so that it is for those that take their time.
func steadyRate(c crewRun) float64 { return c.history.rate(c.n/10, c.n-c.n/10) }

// wholeRate is for handlers that may be far ahead of their completions.
func wholeRate(c crewRun) float64 { return float64(c.n) / c.took.Seconds() }

func crewFigures(what string) []figure {
	return []figure{
		{"p1", what + ", 1 worker process", perSecond},
		{"p2", "the same, 2 processes", perSecond},
		{"p4", "the same, 4 processes", perSecond},
		{"x2", "2 processes against 1", times},
		{"x4", "4 processes against 1", times},
	}
}

// A shift is what each process of a crew does, how many messages there are for
// so many processes, and what is made of a run.
type shift struct {
	order
	backlog func(s system, processes int) int
	rate    func(crewRun) float64
}

// crews measures 1, 2 and 4 processes.
func crews(ctx context.Context, r *rig, s system, sh shift) (map[string]float64, error) {
	figures := map[string]float64{}
	for _, processes := range []int{1, 2, 4} {
		err := r.with(ctx, s, load{}, func(b bus, address string) error {
			sh.subject, sh.Address, sh.History = s.subject, address, true
			n := sh.backlog(s, processes)
			if err := preload(ctx, b, n); err != nil {
				return err
			}
			run, err := crew(ctx, b, sh.order, team{processes, n})
			if err == nil {
				figures[fmt.Sprintf("p%d", processes)] = sh.rate(run)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("with %d processes: %w", processes, err)
		}
	}
	figures["x2"], figures["x4"] = figures["p2"]/figures["p1"], figures["p4"]/figures["p1"]
	return figures, nil
}

// A team is so many processes for n messages.
type team struct{ processes, n int }

// crew lets the processes of a team begin together and drain a backlog.
func crew(ctx context.Context, b bus, o order, t team) (crewRun, error) {
	children := make([]*child, 0, t.processes)
	for range t.processes {
		c, err := prepare(ctx, o)
		if err != nil {
			return crewRun{}, errors.Join(err, dismiss(children))
		}
		children = append(children, c)
	}
	run := crewRun{n: t.n, history: history{}}
	reports, err := drainWith(ctx, b, children, &run)
	if err := errors.Join(err, dismiss(children)); err != nil {
		return run, err
	}
	seen := 0
	for _, rep := range reports {
		run.history.add(rep.History)
		seen += rep.Seen
		run.cpu += rep.CPU
		run.without = rep.Without
	}
	if o.Insert { // a group that runs again calls its handlers again: the effects tell
		seen = min(seen, t.n)
	}
	return run, handledOnce(ctx, b, load{insert: o.Insert}, handled{want: t.n, seen: seen})
}

func dismiss(children []*child) (err error) {
	for _, c := range children {
		err = errors.Join(err, c.end())
	}
	return err
}

// drainWith lets processes work until nothing is left, and reads their reports.
func drainWith(ctx context.Context, b bus, children []*child, run *crewRun) ([]report, error) {
	began := time.Now()
	waiting, fail := context.WithCancel(ctx)
	defer fail()
	reports, errs := make([]report, len(children)), make([]error, len(children))
	var seen atomic.Int64
	var wg sync.WaitGroup
	for i, c := range children {
		if errs[i] = c.begin(); errs[i] != nil {
			fail()
			continue
		}
		wg.Go(func() {
			if reports[i], errs[i] = c.listen(&seen); errs[i] != nil {
				fail() // the others need not be waited for
			}
		})
	}
	for seen.Load() < int64(run.n) && waiting.Err() == nil {
		pause(waiting, step)
	}
	left := waiting.Err()
	if left == nil {
		left = emptied(waiting, b)
		run.took = time.Since(began)
	}
	for _, c := range children {
		_ = c.stdin.Close() // the process ends with its input
	}
	wg.Wait()
	return reports, errors.Join(slices.Concat(errs, []error{left})...)
}
