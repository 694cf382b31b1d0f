package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// batch is the size of a batch in dispatch-many and of a preloaded backlog.
const batch = 1000

// dispatchWorks are the works without a worker.
func dispatchWorks() []work {
	many := work{
		name: "dispatch-many", figures: rate("dispatch in batches of 1000"),
		run: dispatchMany, raw: rawInsert,
	}
	one, eight, all := dispatchWork(1, "1 caller"), dispatchWork(8, "8 callers"), dispatchWork(64, "64 callers")
	one.twin, all.twin = true, true
	return []work{one, eight, all, many}
}

// rate is the figure of most works.
func rate(title string) []figure { return []figure{{"rate", title, perSecond}} }

// dispatchWork is sending one message a call.
func dispatchWork(callers int, title string) work {
	return work{
		name:    fmt.Sprintf("dispatch-%d", callers),
		figures: rate("dispatch one, " + title + ", each accepted on return"),
		raw:     rawCommits(callers),
		run: func(ctx context.Context, r *rig, s system) (map[string]float64, error) {
			return dispatchOne(ctx, r, s, callers)
		},
	}
}

func dispatchOne(ctx context.Context, r *rig, s system, callers int) (map[string]float64, error) {
	var perSecond float64
	err := r.with(ctx, s, load{}, func(b bus, _ string) error {
		early, err := sendFrom(ctx, b, callers, time.Now().Add(r.warming()))
		if err != nil {
			return err
		}
		began := time.Now()
		sent, err := sendFrom(ctx, b, callers, began.Add(r.spell))
		if err != nil {
			return err
		}
		perSecond = float64(sent) / time.Since(began).Seconds()
		return arrived(ctx, b, early+sent)
	})
	return map[string]float64{"rate": perSecond}, err
}

// sendFrom sends from several callers until the end, and returns how many
// messages were accepted.
func sendFrom(ctx context.Context, b bus, callers int, end time.Time) (int, error) {
	sent, errs := make([]int, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { sent[i], errs[i] = sendUntil(ctx, b, end) })
	}
	wg.Wait()
	all := 0
	for _, n := range sent {
		all += n
	}
	return all, firstError(errs)
}

// sendUntil is one caller.
func sendUntil(ctx context.Context, b bus, end time.Time) (sent int, err error) {
	for time.Now().Before(end) {
		if err := b.send(ctx, newNote(sent)); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func dispatchMany(ctx context.Context, r *rig, s system) (map[string]float64, error) {
	var perSecond float64
	err := r.with(ctx, s, load{}, func(b bus, _ string) error {
		sent, began := 0, time.Now()
		for time.Since(began) < r.spell {
			if err := b.sendMany(ctx, notes(sent, batch)); err != nil {
				return err
			}
			sent += batch
		}
		perSecond = float64(sent) / time.Since(began).Seconds()
		return arrived(ctx, b, sent)
	})
	return map[string]float64{"rate": perSecond}, err
}

// notes makes n notes, numbered from first.
func notes(first, n int) []note {
	ns := make([]note, n)
	for i := range ns {
		ns[i] = newNote(first + i)
	}
	return ns
}

// preload sends a backlog.
func preload(ctx context.Context, b bus, n int) error { return fill(ctx, b, 0, n) }

// fill sends what is missing in a backlog.
func fill(ctx context.Context, b bus, left, n int) error {
	for first := left; first < n; first += batch {
		if err := b.sendMany(ctx, notes(first, min(batch, n-first))); err != nil {
			return fmt.Errorf("preload: %w", err)
		}
	}
	return arrived(ctx, b, n)
}

// arrived proves that what was accepted is there.
func arrived(ctx context.Context, b bus, want int) error {
	got, err := b.left(ctx)
	if err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	if got != want {
		return fmt.Errorf("%d messages were accepted, and %d are there", want, got)
	}
	return nil
}
