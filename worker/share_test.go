package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker"
)

// Workers of several processes and hosts are alike to the store: what they hold ahead
// of their slots is all that one can keep from another.
func TestWorkersOfOneStoreShareItsQueue(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	const messages, workers = 1500, 3
	first := openStore(t, dsn)
	m := handle(func(context.Context, job) error { time.Sleep(2 * time.Millisecond); return nil })
	fleet := make([]*running, workers)
	for i := range fleet {
		fleet[i] = start(t, openStore(t, dsn), m, worker.Options{Concurrency: 2})
	}
	for registered := 0; registered < workers; { // nobody has a start on the others
		all, _, err := first.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		registered = len(all)
		time.Sleep(10 * time.Millisecond)
	}
	msgs := make([]posthorn.Message, messages)
	for i := range msgs {
		msgs[i] = job{N: i}
	}
	d, err := posthorn.NewDispatcher(first, posthorn.DispatcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.DispatchMany(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	done := func() (n int) {
		for _, r := range fleet {
			n += len(r.seen(class(driver.ClassDone)))
		}
		return n
	}
	for deadline := time.Now().Add(patience); done() < messages; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages are done", done(), messages)
		}
	}
	for i, r := range fleet {
		r.end()
		if n := len(r.seen(class(driver.ClassDone))); n < messages/workers/5 {
			t.Errorf("worker %d of %d got %d of %d messages", i, workers, n, messages)
		}
	}
}
