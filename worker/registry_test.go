package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker"
)

func TestRegistrySaysWhatAWorkerHasInHandAndItsLimits(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ids := sendJobs(t, s, 3)
	r := start(t, s, handle(func(ctx context.Context, _ job) error { <-ctx.Done(); return ctx.Err() }), worker.Options{
		Heartbeat: 10 * time.Millisecond, Concurrency: 3, DrainTimeout: time.Millisecond,
		Limits: worker.Limits{Messages: 100, Failures: 10, Time: time.Hour, Memory: 1 << 40},
	})
	var w driver.WorkerRecord
	for len(w.Holds) < len(ids) {
		ws, _, err := s.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(ws) > 0 {
			w = ws[0]
		}
		time.Sleep(time.Millisecond)
	}
	if want := (driver.WorkerLimits{Messages: 100, Failures: 10, Time: time.Hour, Memory: 1 << 40}); w.Limits != want {
		t.Errorf("limits %+v, want %+v", w.Limits, want)
	}
	for _, h := range w.Holds {
		if !slices.Contains(ids, h.ID) || h.Kind != (job{}).Kind() || h.Since.Before(w.Started.Truncate(time.Second)) {
			t.Errorf("in hand is %+v", h)
		}
	}
	r.end()
}
