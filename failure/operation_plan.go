package failure

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/store"
)

// Measure counts the letters that an operation would be about, up to one more than AtOnce:
// enough to know whether there are any, and whether they are many, without reading them all
// as a Preview does.
func Measure(ctx context.Context, s *store.Store, o store.Operation) (int, error) {
	most := AtOnce + 1
	if o.Filter.Limit > 0 {
		most = min(most, o.Filter.Limit)
	}
	t, err := s.TotalLetters(ctx, meant(o), int64(most))
	return int(t.N), err
}

// meant is the filter with which an operation chooses its letters.
func meant(o store.Operation) store.LetterFilter {
	f := o.Filter
	f.Discarded = o.Action == store.ActionRestore
	return f
}

// A Preview is what an operation would be about, before it is made.
type Preview struct {
	Total          int // letters; exact
	By             []store.LetterCount
	Oldest, Newest time.Time      // deaths
	Samples        []store.Letter // without their bodies
	// Takes is how long it would take at least: by the rate, or else by what the last
	// large operation of its kind did. 0: nobody knows.
	Takes time.Duration
}

// previewSamples are how many letters a preview shows.
const previewSamples = 3

// Foresee looks at the letters that an operation would be about. It changes nothing.
func Foresee(ctx context.Context, s *store.Store, o store.Operation) (p Preview, err error) {
	o.Filter = meant(o)
	if p.By, err = s.CountLetters(ctx, o.Filter); err != nil {
		return p, fmt.Errorf("foresee operation: %w", err)
	}
	for _, c := range p.By {
		p.Total += c.Count
		if p.Oldest.IsZero() || c.Oldest.Before(p.Oldest) {
			p.Oldest = c.Oldest
		}
		if c.Newest.After(p.Newest) {
			p.Newest = c.Newest
		}
	}
	some := o.Filter
	some.Limit, some.Bare = previewSamples, true
	if o.Filter.Limit > 0 {
		some.Limit = min(some.Limit, o.Filter.Limit)
	}
	if p.Samples, err = s.Letters(ctx, some); err != nil {
		return p, fmt.Errorf("foresee operation: %w", err)
	}
	p.Takes, err = estimate(ctx, s, o, p.Total)
	return p, err
}

// estimate is how long so many letters take.
func estimate(ctx context.Context, s *store.Store, o store.Operation, total int) (time.Duration, error) {
	if o.Rate > 0 {
		return time.Duration(float64(total) / o.Rate * float64(time.Second)), nil
	}
	const enough = 100
	past, err := s.Operations(ctx, store.OperationFilter{})
	for _, p := range past {
		if p.Action == o.Action && p.State == store.OperationDone && p.Rate == 0 && p.Done+p.Failed >= enough {
			return p.Ended.Sub(p.Began) * time.Duration(total) / time.Duration(p.Done+p.Failed), nil
		}
	}
	return 0, err
}

// Watch tells how an operation goes and, as Unconsumed does, why it does not, whenever that
// has changed, until it is over or has stopped by itself, or ctx ends. It carries nothing
// on: that is an Executor's work.
func Watch(
	ctx context.Context, s *store.Store, id string, tell func(o store.Operation, why string),
) (o store.Operation, err error) {
	const every = 200 * time.Millisecond
	var w watched
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := ""; ; {
		if o, err = s.Operation(ctx, id); err != nil {
			return o, err
		}
		if err := w.ask(ctx, s, o); err != nil {
			return o, err
		}
		seen := fmt.Sprint(o.State, o.Total, o.Done, o.Failed, o.Flying, o.Gone, o.Refused, o.Canaries, o.Yields, w.idle)
		if seen != last {
			tell(o, w.why)
			last = seen
		}
		if o.Ends() || o.State == store.OperationStopped {
			return o, nil
		}
		select {
		case <-ctx.Done():
			return o, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// A watched operation is known to be idle, or not.
type watched struct {
	idle  bool
	why   string // it is
	asked time.Time
	flew  bool // something was in flight then
}

// ask finds out whether somebody takes what is in flight: when something is at last, and
// then once in a while.
func (w *watched) ask(ctx context.Context, s *store.Store, o store.Operation) (err error) {
	const every = 2 * time.Second
	flies := o.Flying > 0
	if flies == w.flew && time.Since(w.asked) < every {
		return nil
	}
	w.asked, w.flew = time.Now(), flies
	w.why, err = Unconsumed(ctx, s, o)
	w.idle = w.why != ""
	return err
}
