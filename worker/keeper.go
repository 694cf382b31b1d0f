package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker/verdict"
)

// leaseEnd is when a lease that was asked for at asked must count as over
// here: before it is over in the store. Of a new claim only its arrival is
// known, since Receive waits for a message; the margin covers its way here, and
// the token what is slower.
func (w *Worker) leaseEnd(asked time.Time) int64 {
	return int64(verdict.LeaseEnd(asked.Sub(w.started), w.opts.Lease))
}

// clock is the monotonic time since the worker's start, in nanoseconds.
func (w *Worker) clock() int64 { return int64(time.Since(w.started)) }

// keepLeases renews the leases of all that is in hand, until ctx ends. It ends
// the context of a parcel whose lease is lost.
func (w *Worker) keepLeases(ctx context.Context) {
	every(ctx, w.opts.Renew, func() { w.renew(ctx, w.hand.all()) })
}

// watchLeases ends the contexts of parcels whose lease is over, and calls stuck
// what runs on after its deadline, until ctx ends. It asks nobody, so a store
// that is silent does not keep it.
func (w *Worker) watchLeases(ctx context.Context) {
	every(ctx, min(w.opts.Renew, time.Second), func() { w.watch(w.hand.all()) })
}

// every calls fn again and again until ctx ends.
func every(ctx context.Context, d time.Duration, fn func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			fn()
		case <-ctx.Done():
			return
		}
	}
}

// renew extends the leases of parcels that have not ended.
func (w *Worker) renew(ctx context.Context, ps []*parcel) {
	ds := make([]driver.Delivery, 0, len(ps))
	byToken := make(map[driver.Token]*parcel, len(ps))
	for _, p := range ps {
		if !p.left.Load() {
			ds = append(ds, p.d)
			byToken[p.d.Token] = p
		}
	}
	if len(ds) == 0 {
		return
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.opts.Renew)
	defer cancel()
	err := w.consumer.Extend(ctx, ds...)
	var lost *driver.LeaseLostError
	switch {
	case errors.As(err, &lost):
		for _, d := range lost.Lost {
			byToken[d.Token].ctx.End(driver.ErrLeaseLost)
			delete(byToken, d.Token)
		}
	case err != nil:
		w.weather.report(w.opts.Log, err)
		return
	}
	for _, p := range byToken {
		p.leaseEnd.Store(w.leaseEnd(asked))
	}
}

// watch ends the contexts of parcels whose lease could not be renewed in time,
// and finds handlers that run on after their deadline.
func (w *Worker) watch(ps []*parcel) {
	now := w.clock()
	for _, p := range ps {
		if now > p.leaseEnd.Load() {
			p.ctx.End(driver.ErrLeaseLost)
		}
		if d := p.deadline.Load(); d > 0 && now > d && p.deadline.CompareAndSwap(d, pastDeadline) {
			w.noteStuck(p)
		}
		since, limit := p.stuckSince.Load(), w.opts.StuckLimit
		if limit > 0 && since > 0 && now-since >= int64(limit) {
			w.stop(fmt.Errorf("%w: one runs on %s after its deadline", ErrStuck, limit))
		}
	}
}
