package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/transport/memory"
	"github.com/posthorn/posthorn/worker"
)

// A lateTest has a handler that asks for nothing and takes four seconds, and a worker that asks
// its handlers to end after three.
type lateTest struct {
	timeout time.Duration
	want    driver.Class
	dead    int
}

// A handler runs past its deadline, and past the end of its worker: which of them came first
// says whether the attempt counts.
func TestWhatCameFirstIsWhyAHandlerWasCutOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]lateTest{
		"its deadline":          {timeout: time.Second, want: driver.ClassTimeout, dead: 1},
		"the end of its worker": {timeout: 3500 * time.Millisecond, want: driver.ClassInterrupted},
		"no deadline":           {timeout: time.Hour, want: driver.ClassInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, tt.run)
		})
	}
}

func (tt lateTest) run(t *testing.T) {
	tr := memory.New(memory.Options{})
	defer func() { _ = tr.Close() }()
	m := handle(func(context.Context, job) error { time.Sleep(4 * time.Second); return errors.New("it failed") },
		posthorn.WithTimeout(tt.timeout), noRetry())
	dispatch(t, tr, job{})
	r := start(t, tr, m, worker.Options{Concurrency: 1, DrainTimeout: time.Second})
	time.Sleep(2 * time.Second)
	r.stop()
	r.wait()
	seen := r.seen(func(e worker.Event) bool { return !e.Stuck })
	if len(seen) != 1 || seen[0].Class != tt.want || len(tr.Dead()) != tt.dead {
		t.Errorf("%d letters, and %+v, want %d and the class %s", len(tr.Dead()), seen, tt.dead, tt.want)
	}
	synctest.Wait()
}
