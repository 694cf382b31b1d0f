package worker

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// maintainEvery is how often a worker does the transport's housekeeping.
const maintainEvery = time.Hour

// patience bounds the last words to a transport that may be away.
const patience = 5 * time.Second

// The states of a worker in the registry.
const (
	stateRunning  = "running"
	stateStopping = "stopping"
)

// record is the worker's row in the registry.
func (w *Worker) record(state string) driver.WorkerRecord {
	queues := w.opts.Queues
	if w.opts.Isolated { // it serves none of them: nobody must count on it
		queues = nil
	}
	return driver.WorkerRecord{
		ID: w.id, Host: w.host, PID: os.Getpid(), Program: w.opts.Program, Version: w.opts.Version, State: state,
		Queues: queues, Kinds: w.mux.Kinds(), Started: w.started,
		Handled: w.count.handled.Load(), Failed: w.count.failed.Load(), RSS: ResidentMemory(),
		InFlight: w.hand.len(), Concurrency: w.opts.Concurrency, Holds: w.holds(), Limits: driver.WorkerLimits{
			Messages: w.opts.Limits.Messages, Failures: w.opts.Limits.Failures,
			Time: w.opts.Limits.Time, Memory: w.opts.Limits.Memory,
		},
	}
}

// holds are the messages in hand, those for the longest time first.
func (w *Worker) holds() []driver.Hold {
	ps := w.hand.all()
	slices.SortFunc(ps, func(a, b *parcel) int {
		return cmp.Or(a.claimed.Compare(b.claimed), cmp.Compare(a.d.ID, b.d.ID))
	})
	out := make([]driver.Hold, 0, min(len(ps), driver.MaxHolds))
	for _, p := range ps[:cap(out)] {
		out = append(out, driver.Hold{ID: p.d.ID, Kind: p.d.Kind, Since: p.claimed})
	}
	return out
}

// join enters the registry. A new row has no orders.
func (w *Worker) join(ctx context.Context) error {
	if w.roles.Registry == nil {
		return nil
	}
	_, err := w.roles.Registry.Heartbeat(ctx, w.record(stateRunning))
	return err
}

// leave removes the row: whoever waits for the worker's end waits for this.
func (w *Worker) leave() {
	if w.roles.Registry == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(&w.handlers), patience)
	defer cancel()
	if err := w.roles.Registry.Deregister(ctx, w.id); err != nil {
		w.opts.Log.Warn("could not leave the registry", "worker", w.id, "error", err)
	}
}

// beat keeps the row fresh and obeys a stop order.
func (w *Worker) beat(ctx context.Context) {
	if w.roles.Registry == nil {
		return
	}
	ticker := time.NewTicker(w.opts.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		state := stateRunning
		if w.StopReason() != "" {
			state = stateStopping
		}
		orders, err := w.roles.Registry.Heartbeat(ctx, w.record(state))
		if err == nil && orders.Stop {
			w.stop(ErrStopOrder)
		}
	}
}

// maintain does the housekeeping at a time of its own, so that the workers of a
// fleet do not do it together.
func (w *Worker) maintain(ctx context.Context) {
	if w.roles.Maintainer == nil {
		return
	}
	timer := time.NewTimer(rand.N(maintainEvery / 60))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := w.roles.Maintainer.Maintain(ctx, w.opts.Retention); err != nil && ctx.Err() == nil {
			w.opts.Log.Warn("housekeeping failed", "worker", w.id, "error", err)
		}
		timer.Reset(maintainEvery/2 + rand.N(maintainEvery))
	}
}
