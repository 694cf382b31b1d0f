package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
)

// failingShares are the parts of the messages that fail once, in percent.
func failingShares() []int { return []int{0, 1, 10, 50} }

// failingWorks are the works whose handlers fail beside others that do not.
func failingWorks() []work {
	return []work{{
		name: "failing", of: []string{ours}, run: failing,
		figures: []figure{
			{"p0", "handle, one INSERT committed with the completion, no message fails", perSecond},
			{"p1", "the same, 1 % fail after their INSERT, and are retried after 1 ms", perSecond},
			{"p10", "the same, 10 % fail", perSecond},
			{"p50", "the same, 50 % fail", perSecond},
			{"x1", "1 % against none", times},
			{"x10", "10 % against none", times},
			{"x50", "50 % against none", times},
		},
	}}
}

// failing drains a backlog of which a share fails at its first attempt.
func failing(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	figures := map[string]float64{}
	for _, percent := range failingShares() {
		n := r.backlog(s, load{insert: true})
		l := load{insert: true, faults: newFaults(percent, n)}
		err := r.with(ctx, s, l, func(b bus, _ string) error {
			if err := preload(ctx, b, n); err != nil {
				return err
			}
			took, err := drainFailing(ctx, b, l)
			figures[fmt.Sprintf("p%d", percent)] = float64(n) / took.Seconds()
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("with %d %% that fail: %w", percent, err)
		}
	}
	for _, percent := range failingShares()[1:] {
		figures[fmt.Sprintf("x%d", percent)] = figures[fmt.Sprintf("p%d", percent)] / figures["p0"]
	}
	return figures, nil
}

// errFault is what a message fails with.
var errFault = errors.New("this message fails at its first attempt")

// faults are the failures of a run, and what its handlers noted.
type faults struct {
	percent int
	done    []atomic.Bool // by message: its handler has returned nil once
	charged atomic.Int64  // entries of messages that do not fail with an attempt or a claim behind them
	failed  atomic.Int64  // attempts
}

// plan is the retry policy of the failing.
func (*faults) plan() posthorn.RetryPolicy {
	return posthorn.RetryPolicy{Delay: time.Millisecond, Multiplier: 1, Jitter: -1}
}

// attempt is the end of a handler, after its INSERT.
func (f *faults) attempt(ctx context.Context, n note, seen func(note)) error {
	d, _ := posthorn.DeliveryFrom(ctx)
	i := n.N - firstNote
	fails := i%100 < f.percent
	switch {
	case fails && d.Attempt == 0:
		f.failed.Add(1)
		return errFault
	case !fails && (d.Attempt > 0 || d.Deliveries > 1 || d.Crashes > 0):
		f.charged.Add(1)
	}
	if f.done[i].CompareAndSwap(false, true) { // a group runs again when a neighbour fails
		seen(n)
	}
	return nil
}

// newFaults lets a part of n messages fail.
func newFaults(percent, n int) *faults {
	return &faults{percent: percent, done: make([]atomic.Bool, n)}
}

// drainFailing is drain for messages of which some fail. It checks that those that
// do not were charged with nothing, and that nothing was doubled.
func drainFailing(ctx context.Context, b bus, l load) (time.Duration, error) {
	f, n := l.faults, len(l.faults.done)
	took, err := drain(ctx, b, l, n)
	if err != nil {
		return took, err
	}
	different, err := count(ctx, b.db(), "select count(distinct n) from effect")
	switch {
	case err != nil:
		return took, err
	case different != n:
		return took, fmt.Errorf("%d messages have an effect, want %d: some were doubled, and as many lost", different, n)
	case f.charged.Load() > 0:
		return took, fmt.Errorf("%d times a message that does not fail came back", f.charged.Load())
	case f.percent > 0 && f.failed.Load() == 0:
		return took, errors.New("no message has failed")
	}
	return took, nil
}
