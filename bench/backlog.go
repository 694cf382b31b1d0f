package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

// backlogWorks are the works that need many messages: a system must not become
// slower because of what waits, or because of what was there.
func backlogWorks(s sizes) []work {
	return []work{
		{
			name: "backlog", run: backlogs, figures: backlogFigures(s.depths), once: true, large: true,
			// The others would need minutes to send so much, or to sort it.
			of: []string{ours, "river", "gue"}, patience: longPatience,
		},
		{
			name: "snapshot", run: snapshots, once: true, large: true,
			figures: []figure{
				{"control", "many messages through, rate of the last tenth", perSecond},
				{"held", "the same while another session holds a snapshot", perSecond},
				{"kept", "held snapshot against none", times},
				{"through", "messages that went through it, in two minutes at most", messages},
			},
			of: []string{ours, "river"}, patience: longPatience,
		},
	}
}

func backlogFigures(depths []int) []figure {
	var figures []figure
	for _, depth := range depths {
		figures = append(figures, figure{behind(depth), "handle, no-op, with a backlog of " + counted(depth) + " behind",
			perSecond})
	}
	least, most := depths[0], depths[len(depths)-1]
	return append(figures, figure{"flat", "backlog of " + counted(most) + " against " + counted(least), times})
}

// behind is the key of the figure for a depth.
func behind(depth int) string { return "behind_" + strconv.Itoa(depth) }

// counted writes a round number.
func counted(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return strconv.Itoa(n)
}

// backlogs measures the same number of messages in front of each depth, in some turns.
func backlogs(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	noted := map[string][]float64{}
	for began := time.Now(); another(len(noted["flat"]), began); {
		rates := make([]float64, len(r.depths))
		for i, depth := range r.depths {
			rate, err := inFrontOf(ctx, r, s, depth)
			if err != nil {
				return nil, fmt.Errorf("with a backlog of %d: %w", depth, err)
			}
			rates[i] = rate
			noted[behind(depth)] = append(noted[behind(depth)], rate)
		}
		noted["flat"] = append(noted["flat"], rates[len(rates)-1]/rates[0])
	}
	figures := map[string]float64{}
	for key, all := range noted {
		figures[key] = median(all)
	}
	return figures, nil
}

// spells are how often each rate is measured, and the median counts: a server that has just been sent up to a
// million messages still writes pages and cleans up.
const spells = 3

// inFrontOf is the median rate of workers that have still so many messages to do when
// they are stopped.
func inFrontOf(ctx context.Context, r *rig, s system, depth int) (float64, error) {
	n, left := r.backlog(s, load{}), 0
	rates := make([]float64, spells)
	err := r.with(ctx, s, load{}, func(b bus, _ string) (err error) {
		for i := range rates {
			if err := fill(ctx, b, left, n+depth); err != nil {
				return err
			}
			syscall.Sync() // what the kernel still has to write of that is not in the way of the commits that are measured
			if rates[i], left, err = spellOf(ctx, b, n, n+depth); err != nil {
				return err
			}
		}
		return nil
	})
	return median(rates), err
}

// spellOf lets a worker do n of all the messages that there are: its rate is of those that are done when its handlers
// have seen enough, since handlers may be far ahead of their completions. left are not done when it has stopped.
func spellOf(ctx context.Context, b bus, n, all int) (rate float64, left int, err error) {
	began := time.Now()
	seen, err := workUntil(ctx, b, load{}, target{n: n, then: func() error {
		took := time.Since(began) // the count is of this moment, however long it takes
		left, err := b.left(ctx)
		rate = float64(all-left) / took.Seconds()
		return err
	}})
	if err != nil {
		return 0, 0, err
	}
	left, err = b.left(ctx)
	if err == nil && left+seen != all {
		err = fmt.Errorf("of %d messages, %d were handled and %d are left", all, seen, left)
	}
	return rate, left, err
}

// flowTime bounds how long messages may go through: a system that becomes slower
// with each message would need hours. Its rate counts from there, which is kinder
// than what would have followed.
const flowTime = 2 * time.Minute

// A flow is how many messages went through, and how fast the last tenth did.
type flow struct {
	through int
	rate    float64
}

// What is compared with a million messages may last no longer than a second, in which a machine is often a tenth faster
// or slower than in the next. So it is compared in some turns, where those do not take too long, and medians count.
const (
	turns     = 3
	turnsTime = 100 * time.Second
)

// another reports whether there is to be one more turn.
func another(done int, began time.Time) bool {
	return done == 0 || done < turns && time.Since(began) < turnsTime
}

// snapshots measures with and without a snapshot that another session holds
// from before the first message is sent.
func snapshots(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	var control, held, kept, through []float64
	for began := time.Now(); another(len(kept), began); {
		without, err := r.flowOf(ctx, s, nil)
		if err != nil {
			return nil, err
		}
		with, err := r.flowOf(ctx, s, r.siteOf(s).hold)
		if err != nil {
			return nil, fmt.Errorf("with a held snapshot: %w", err)
		}
		control, held = append(control, without.rate), append(held, with.rate)
		kept, through = append(kept, with.rate/without.rate), append(through, float64(with.through))
	}
	return map[string]float64{
		"control": median(control), "held": median(held), "kept": median(kept), "through": median(through),
	}, nil
}

// holding holds a snapshot until release.
type holding func(ctx context.Context, address string) (release func() error, err error)

// flowOf sends messages and drains them, while a snapshot is held if hold is
// not nil.
func (r *rig) flowOf(ctx context.Context, s system, hold holding) (f flow, err error) {
	n := max(int(float64(r.flow)*r.siteOf(s).flow), 1000)
	err = r.with(ctx, s, load{}, func(b bus, address string) error {
		release := func() error { return nil }
		if hold != nil {
			if release, err = hold(ctx, address); err != nil {
				return fmt.Errorf("hold a snapshot: %w", err)
			}
		}
		f, err = through(ctx, b, n)
		return errors.Join(err, release())
	})
	return f, err
}

func through(ctx context.Context, b bus, n int) (flow, error) {
	if err := preload(ctx, b, n); err != nil {
		return flow{}, err
	}
	l := load{line: newTimeline()}
	seen, err := workUntil(ctx, b, l, target{n: n, within: flowTime, then: func() error { return emptied(ctx, b) }})
	if err != nil {
		return flow{}, err
	}
	left, err := b.left(ctx)
	if err == nil && (left+seen != n || seen < 100) {
		err = fmt.Errorf("of %d messages, %d were handled and %d are left", n, seen, left)
	}
	return flow{seen, l.line.history().rate(seen-seen/10, seen)}, err
}
