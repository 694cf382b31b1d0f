//go:build unix

package metrics_test

import (
	"context"
	"path/filepath"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/tracing"
	"github.com/posthorn/posthorn/worker"
)

// batch is how many messages one round of the benchmark sends and handles.
const batch = 2000

// BenchmarkWorker sends and handles messages: with nobody watching, with metrics, with
// traces of which none is sampled, and with traces that are all exported to memory. One
// operation is one message.
func BenchmarkWorker(b *testing.B) {
	b.Run("plain", func(b *testing.B) { workThrough(b, nil, tracing.New(nil)) })
	b.Run("metrics", func(b *testing.B) { workThrough(b, metrics.NewTally(metrics.Known{}), tracing.New(nil)) })
	b.Run("unsampled", func(b *testing.B) {
		workThrough(b, nil, tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample()))))
	})
	b.Run("traced", func(b *testing.B) {
		p := sdk.NewTracerProvider(sdk.WithSpanProcessor(sdk.NewBatchSpanProcessor(tracetest.NewNoopExporter())))
		defer func() { _ = p.Shutdown(context.Background()) }()
		workThrough(b, nil, tracing.New(p))
	})
}

func workThrough(b *testing.B, tally *metrics.Tally, tr *tracing.Tracer) {
	b.Helper()
	done := make(chan struct{}, batch)
	so, wo := store.Options{}, worker.Options{Concurrency: 16}
	if tally != nil {
		so.Meter, wo.Observe = tally, tally.Observe
	}
	s, err := sqlite.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "s.db")+"?synchronous=normal", so)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	wo.Dispatcher, err = posthorn.NewDispatcher(s, posthorn.DispatcherOptions{
		Middleware: []posthorn.SendMiddleware{tr.Send},
	})
	if err != nil {
		b.Fatal(err)
	}
	mux := posthorn.NewMux()
	mux.Use(tr.Handle)
	posthorn.Handle(mux, func(context.Context, order) error {
		done <- struct{}{}
		return nil
	})
	w, err := worker.New(s, mux, wo)
	if err != nil {
		b.Fatal(err)
	}
	stop := run(b, w.Run)
	defer stop()
	msgs := make([]posthorn.Message, batch)
	for i := range msgs {
		msgs[i] = order{How: "well"}
	}
	b.ResetTimer()
	defer cpuTime(b)()
	for sent := 0; sent < b.N; sent += batch {
		if _, err := wo.Dispatcher.DispatchMany(context.Background(), msgs[:min(batch, b.N-sent)]); err != nil {
			b.Fatal(err)
		}
		for range min(batch, b.N-sent) {
			<-done
		}
	}
	b.StopTimer()
}
