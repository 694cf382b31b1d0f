package worker

import (
	"context"
	"errors"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// leaseEnd is when a lease that was asked for at asked must count as over
// here: before it is over in the store.
func (w *Worker) leaseEnd(asked time.Time) int64 {
	return int64(asked.Sub(w.started) + w.opts.Lease - w.opts.Lease/10)
}

// clock is the monotonic time since the worker's start, in nanoseconds.
func (w *Worker) clock() int64 { return int64(time.Since(w.started)) }

// withDelivery is the root context of one delivery's handler.
func (w *Worker) withDelivery(d driver.Delivery) context.Context {
	return posthorn.WithDelivery(w.handlers, d, w.opts.Log)
}

// keepLeases renews the leases of all that is in hand, until ctx ends. It is
// the only other goroutine that touches an item: it ends the context of one
// whose lease is lost, and calls stuck what runs on after its deadline.
func (w *Worker) keepLeases(ctx context.Context) {
	look := min(w.opts.Renew, time.Second)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		its := w.hand.all()
		w.watch(its)
		if time.Since(last) >= w.opts.Renew {
			last = time.Now()
			w.renew(ctx, its)
		}
	}
}

// renew extends the leases of items that have not ended.
func (w *Worker) renew(ctx context.Context, its []*item) {
	ds := make([]driver.Delivery, 0, len(its))
	byToken := make(map[driver.Token]*item, len(its))
	for _, it := range its {
		if !it.left.Load() {
			ds = append(ds, it.d)
			byToken[it.d.Token] = it
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
			byToken[d.Token].cancel(driver.ErrLeaseLost)
			delete(byToken, d.Token)
		}
	case err != nil:
		w.weather.report(w.opts.Log, err)
		return
	}
	for _, it := range byToken {
		it.leaseEnd.Store(w.leaseEnd(asked))
	}
}

// watch ends the contexts of items whose lease could not be renewed in time,
// and finds handlers that run on after their deadline.
func (w *Worker) watch(its []*item) {
	now := w.clock()
	for _, it := range its {
		if now > it.leaseEnd.Load() {
			it.cancel(driver.ErrLeaseLost)
		}
		if d := it.deadline.Load(); d != 0 && now > d {
			w.markStuck(it)
		} else if d == 0 && it.effect == nil && it.stuck.CompareAndSwap(true, false) {
			w.count.stuck.Add(-1)
		}
	}
}

// markStuck accounts a handler that does not return. Its message stays claimed:
// nobody can know what it still does. When no slot is left, the worker ends, so
// that a fresh process can take its place.
func (w *Worker) markStuck(it *item) {
	if !it.stuck.CompareAndSwap(false, true) {
		return
	}
	n := w.count.stuck.Add(1)
	w.opts.Log.Warn("handler is stuck: it runs on after its deadline",
		"message_id", it.d.ID, "kind", it.d.Kind, "worker", w.id, "stuck", n)
	w.events.put(Event{Delivery: it.d, Class: driver.ClassTimeout, Stuck: true, Worker: w.id})
	if int(n) >= w.opts.Concurrency {
		w.stop(ErrStuck)
	}
}
