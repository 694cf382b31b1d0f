package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// handleWorks are the works that drain a backlog in one process.
func handleWorks() []work {
	return []work{
		{
			name: "handle", figures: rate("handle, no-op handler, at least once"),
			run: drainWork(load{}), raw: rawClaim,
		},
		{
			name: "handle-tx", figures: rate("handle, one INSERT committed with the completion"),
			run: drainWork(load{insert: true}),
		},
		{
			name: "handle-tx-alone", twin: true, figures: rate("the same without group commit"),
			run: drainWork(load{insert: true, alone: true}),
		},
		{
			name: "handle-queued", figures: rate("handle, one INSERT queued, committed with the completion"),
			run: drainWork(load{insert: true, queued: true}),
		},
	}
}

// drainWork measures how fast a worker empties a backlog.
func drainWork(l load) func(context.Context, *rig, system) (map[string]float64, error) {
	return func(ctx context.Context, r *rig, s system) (map[string]float64, error) {
		n := r.backlog(s, l)
		var perSecond float64
		err := r.with(ctx, s, l, func(b bus, _ string) error {
			if err := preload(ctx, b, n); err != nil {
				return err
			}
			took, err := drain(ctx, b, l, n)
			perSecond = float64(n) / took.Seconds()
			return err
		})
		return map[string]float64{"rate": perSecond}, err
	}
}

// drain runs a worker until the n messages are done: from its start to the
// moment when the last completion is committed. It checks that each message
// was handled once, and that each INSERT is there.
func drain(ctx context.Context, b bus, l load, n int) (time.Duration, error) {
	began := time.Now()
	var took time.Duration
	seen, err := workUntil(ctx, b, l, target{n: n, then: func() error {
		err := emptied(ctx, b)
		took = time.Since(began)
		return err
	}})
	if err != nil {
		return 0, err
	}
	return took, handledOnce(ctx, b, l, handled{want: n, seen: seen})
}

// A target ends a worker: after n messages, and what is to be done then.
type target struct {
	n      int
	then   func() error
	within time.Duration // if it takes longer, it ends there; 0: it may take long
}

// workUntil runs a worker until its target, and returns how many messages its
// handlers saw in all.
func workUntil(ctx context.Context, b bus, l load, to target) (int, error) {
	var seen atomic.Int64
	last := make(chan struct{})
	l.seen = func(note) {
		if l.line != nil {
			l.line.note()
		}
		if seen.Add(1) == int64(to.n) {
			close(last)
		}
	}
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	var worker sync.WaitGroup
	defer worker.Wait()
	defer stop()
	worker.Go(func() { ended <- b.work(working, l) })
	var late <-chan time.Time
	if to.within > 0 {
		late = time.After(to.within)
	}
	var err error
	select {
	case err = <-ended:
		return 0, errors.Join(errors.New("the worker ended early"), err)
	case <-late:
	case <-last:
		err = to.then()
	case <-ctx.Done():
		err = fmt.Errorf("%d of %d messages handled: %w", seen.Load(), to.n, ctx.Err())
	}
	stop()
	err = errors.Join(err, <-ended)
	return int(seen.Load()), err
}

// emptied waits until nothing is left.
func emptied(ctx context.Context, b bus) error {
	for {
		n, err := b.left(ctx)
		if err != nil || n == 0 {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d messages are left: %w", n, ctx.Err())
		}
		pause(ctx, time.Millisecond)
	}
}

// A handled is what came out of a run.
type handled struct{ want, seen int }

func handledOnce(ctx context.Context, b bus, l load, h handled) error {
	if h.seen != h.want {
		return fmt.Errorf("%d messages, %d handler calls", h.want, h.seen)
	}
	if !l.insert {
		return nil
	}
	rows, err := count(ctx, b.db(), "select count(*) from effect")
	if err == nil && rows != h.want {
		err = fmt.Errorf("%d messages, %d effects", h.want, rows)
	}
	return err
}
