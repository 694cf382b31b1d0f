package hotpath_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// group is how many dead letters the operation of BenchmarkOperationBesideOthers retries.
var group = flag.Int("group", 10_000, "dead letters that an operation retries")

// What the retry of a group costs the other queues: their throughput while it runs, and
// before. It has a canary and the full rate.
func BenchmarkOperationBesideOthers(b *testing.B) { onEachStore(b, retryBeside) }

func retryBeside(r *rig) {
	const calm = 10 * time.Second
	for r.Loop() { //nolint:revive // what is measured takes its own time, once; it clears what was reported
	}
	var handled, retried atomic.Int64
	mourn(r, *group)
	defer beside(r, &handled, &retried)()
	before := rateOf(&handled, func() { time.Sleep(calm) })
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	e := failure.NewExecutor(r.store, failure.ExecutorOptions{Name: "bench", Poll: 100 * time.Millisecond})
	wg.Go(func() { _ = e.Run(ctx) })
	began := time.Now()
	during := rateOf(&handled, func() { retryGroup(r) })
	took := time.Since(began)
	cancel()
	wg.Wait()
	r.ReportMetric(before, "others/s-before")
	r.ReportMetric(during, "others/s-during")
	r.ReportMetric(100*(1-during/before), "%-less")
	r.ReportMetric(float64(*group)/took.Seconds(), "retried/s")
}

// retryGroup retries all that is dead, and waits for the end.
func retryGroup(r *rig) {
	o, err := r.store.StartOperation(r.Context(), store.Operation{
		Action: store.ActionRetry, Canary: true, Filter: store.LetterFilter{Queue: "dead"},
	})
	if err == nil {
		o, err = failure.Watch(r.Context(), r.store, o.ID, func(store.Operation) {})
	}
	if err != nil || o.Done != *group {
		r.Errorf("it ended as %+v, %v", o, err)
	}
}

// rateOf is how many were handled a second while something was done.
func rateOf(handled *atomic.Int64, do func()) float64 {
	began, first := time.Now(), handled.Load()
	do()
	return float64(handled.Load()-first) / time.Since(began).Seconds()
}

// mourn makes dead letters, copies of one that died.
func mourn(r *rig, n int) {
	r.Helper()
	ctx := r.Context()
	e := driver.Envelope{ID: "first", Kind: "note", Queue: "dead", Body: []byte(`{"n":1,"text":"x"}`), SentAt: time.Now()}
	if err := r.store.Send(ctx, e); err != nil {
		r.Fatal(err)
	}
	c, err := r.store.Consume(ctx, driver.Subscription{Queues: []string{"dead"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ds, err := c.Receive(ctx, 1)
	if err != nil {
		r.Fatal(err)
	}
	err = c.Settle(ctx, driver.Settlement{Delivery: ds[0], Verdict: driver.Bury, Reason: driver.ReasonRejected})
	if err != nil {
		r.Fatal(err)
	}
	for have := 1; have < n; have *= 2 {
		const columns = "kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, reason, class, error, body"
		id := "concat(id, '-', " + fmt.Sprint(have) + ")"
		if r.store.Dialect() == "sqlite" {
			id = fmt.Sprintf("id || '-%d'", have)
		}
		stmt := fmt.Sprintf("insert into posthorn_letter (id, %s) select %s, %s from posthorn_letter order by seq limit %d",
			columns, id, columns, min(have, n-have))
		if _, err := r.store.DB().ExecContext(ctx, stmt); err != nil {
			r.Fatal(err)
		}
	}
}

// beside runs a worker for the dead queue and one for another queue, which is kept full.
func beside(r *rig, handled, retried *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	for queue, count := range map[string]*atomic.Int64{"dead": retried, "busy": handled} {
		mux := posthorn.NewMux()
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			count.Add(1)
			_, err := tx.ExecContext(ctx, r.kind.insert, n.N, n.Text)
			return err
		})
		w, err := worker.New(r.store, mux, worker.Options{Queues: []string{queue}, Concurrency: 16})
		if err != nil {
			r.Fatal(err)
		}
		wg.Go(func() { _ = w.Run(ctx) })
	}
	wg.Go(func() {
		for sent := int64(0); ctx.Err() == nil; {
			if sent-handled.Load() > 2000 {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			var es []driver.Envelope
			for range 500 {
				sent++
				es = append(es, driver.Envelope{
					ID: fmt.Sprint("b", sent), Kind: "note", Queue: "busy", Body: []byte(`{"n":1,"text":"x"}`), SentAt: time.Now(),
				})
			}
			_ = r.store.Send(ctx, es...) // the end of the benchmark may come in between
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
