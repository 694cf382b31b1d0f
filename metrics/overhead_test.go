//go:build unix

package metrics_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/tracing"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// A watch is one way in which messages are watched.
type watch struct {
	name    string
	metrics bool
	sampler sdk.Sampler // nil: no traces
	options []tracing.Option
	// header is a field of the application's own, as long as a trace's: what it costs is
	// the store's part of a trace that travels.
	header string
}

// watches are the ways that are compared; the first one is what the others are compared with.
func watches() []watch {
	parentBased, never := []tracing.Option{tracing.WithParentBased()}, sdk.ParentBased(sdk.NeverSample())
	only, few := []tracing.Option{tracing.WithSampledOnly()}, sdk.ParentBased(sdk.TraceIDRatioBased(0.01))
	return []watch{
		{name: "plain"},
		{name: "metrics", metrics: true},
		{name: "a header", header: strings.Repeat("x", 55)},
		{name: "unsampled, parent-based", sampler: never, options: parentBased},
		{name: "unsampled", sampler: never},
		{name: "sampled only: none", sampler: never, options: only},
		{name: "sampled only: 1 %", sampler: few, options: only},
		{name: "metrics, sampled only: 1 %", metrics: true, sampler: few, options: only},
		{name: "all sampled", sampler: sdk.AlwaysSample()},
	}
}

// turnMessages is how many messages a turn sends and handles: so few that some turns are
// over before another process interferes.
const turnMessages = 200

// A watched is a store with a worker, and what its turns have cost for a message: CPU and
// time in nanoseconds, and allocated bytes.
type watched struct {
	watch
	store      *store.Store
	dispatcher *posthorn.Dispatcher
	done       chan struct{}
	cpu, time  []float64
	bytes      []float64
}

// watchedIn opens a store and runs a worker on it. insert is the statement that each handler
// runs in its transaction; without one they do nothing.
func watchedIn(b *testing.B, address, insert string, by watch) *watched {
	b.Helper()
	w := &watched{watch: by, done: make(chan struct{}, turnMessages)}
	tally, tr := metrics.NewTally(metrics.Known{}), tracing.New(nil)
	so, wo := store.Options{}, worker.Options{Concurrency: 64}
	if by.metrics {
		so.Meter, wo.Observe = tally, tally.Observe
	}
	if by.sampler != nil {
		p := sdk.NewTracerProvider(sdk.WithSampler(by.sampler),
			sdk.WithSpanProcessor(sdk.NewBatchSpanProcessor(tracetest.NewNoopExporter())))
		b.Cleanup(func() { _ = p.Shutdown(context.Background()) })
		tr = tracing.New(p, by.options...)
	}
	var err error
	if w.store, err = open.Store(b.Context(), address, so); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.store.Close() })
	w.dispatcher, err = posthorn.NewDispatcher(w.store, posthorn.DispatcherOptions{
		Middleware: []posthorn.SendMiddleware{tr.Send},
	})
	if err != nil {
		b.Fatal(err)
	}
	mux := posthorn.NewMux()
	mux.Use(tr.Handle)
	if insert == "" {
		posthorn.Handle(mux, func(context.Context, order) error { w.done <- struct{}{}; return nil })
	} else {
		w.exec(b, "create table effect (text varchar(250) not null)")
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, o order) error {
			w.done <- struct{}{}
			_, err := tx.ExecContext(ctx, insert, o.How)
			return err
		})
	}
	wo.Dispatcher = w.dispatcher
	wk, err := worker.New(w.store, mux, wo)
	if err != nil {
		b.Fatal(err)
	}
	run(b, wk.Run)
	return w
}

func (w *watched) exec(b *testing.B, query string) {
	b.Helper()
	if _, err := w.store.DB().ExecContext(b.Context(), query); err != nil {
		b.Fatal(err)
	}
}

// turn sends and handles messages, until the last one is settled.
func (w *watched) turn(b *testing.B) {
	b.Helper()
	msgs := slices.Repeat([]posthorn.Message{order{How: strings.Repeat("well ", 38)}}, turnMessages)
	var opts []posthorn.DispatchOption
	if w.header != "" {
		opts = append(opts, posthorn.WithHeader("traceparenx", w.header))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, used := time.Now(), cpu()
	if _, err := w.dispatcher.DispatchMany(b.Context(), msgs, opts...); err != nil {
		b.Fatal(err)
	}
	for range turnMessages {
		<-w.done
	}
	for left := 1; left > 0; {
		row := w.store.DB().QueryRowContext(b.Context(), "select count(*) from posthorn_message")
		if err := row.Scan(&left); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	w.cpu = append(w.cpu, float64(cpu()-used)/turnMessages)
	w.time = append(w.time, float64(time.Since(began))/turnMessages)
	runtime.ReadMemStats(&after)
	w.bytes = append(w.bytes, float64(after.TotalAlloc-before.TotalAlloc)/turnMessages)
}

// BenchmarkOverhead is what it costs to watch messages. All ways of watching take turns within
// each round, so that a busy machine is busy for all of them, and what is told is the tenth
// percentile of the turns, which nobody has disturbed. One operation is a round.
func BenchmarkOverhead(b *testing.B) {
	for _, db := range []struct {
		name    string
		address func(b *testing.B) (fresh func() string)
		insert  string
	}{
		{"sqlite", sqliteFiles, "insert into effect (text) values (?)"},
		{"postgres", postgresDatabases, "insert into effect (text) values ($1)"},
		{"mariadb", mariadbDatabases, "insert into effect (text) values (?)"},
	} {
		b.Run(db.name+"/handle", func(b *testing.B) { compare(b, db.address(b), "") })
		b.Run(db.name+"/handle-tx", func(b *testing.B) { compare(b, db.address(b), db.insert) })
	}
}

func sqliteFiles(b *testing.B) func() string {
	dir, n := b.TempDir(), 0
	return func() string {
		n++
		return "sqlite:" + filepath.Join(dir, fmt.Sprintf("%d.db?synchronous=normal", n))
	}
}

func postgresDatabases(b *testing.B) func() string {
	s := testserver.PostgreSQL(b, testserver.Options{Settings: map[string]string{
		"max_connections": "300", "shared_buffers": "256MB", "max_wal_size": "4GB",
	}})
	return databases(b, s, func(name string) string { return s.DSN(s.Superuser(), name) })
}

func mariadbDatabases(b *testing.B) func() string {
	s := testserver.MariaDB(b, testserver.Options{Settings: map[string]string{
		"max_connections": "300", "innodb_buffer_pool_size": "256M", "innodb_log_file_size": "256M",
	}})
	return databases(b, s, func(name string) string { return "mariadb://" + s.Superuser() + "@" + s.Addr() + "/" + name })
}

func databases(b *testing.B, s *testserver.Server, address func(name string) string) func() string {
	n := 0
	return func() string {
		n++
		name := fmt.Sprintf("overhead_%d", n)
		if err := s.Exec("create database " + name); err != nil {
			b.Fatal(err)
		}
		return address(name)
	}
}

// compare lets all ways of watching take turns.
func compare(b *testing.B, fresh func() string, insert string) {
	b.Helper()
	var all []*watched
	for _, by := range watches() {
		all = append(all, watchedIn(b, fresh(), insert, by))
	}
	for _, w := range all { // pools open their connections, caches fill
		w.turn(b)
		w.cpu, w.time, w.bytes = nil, nil, nil
	}
	b.ResetTimer()
	for round := range b.N {
		for i := range all {
			all[(i+round)%len(all)].turn(b)
		}
	}
	b.StopTimer()
	if b.N == 1 { // the benchmark is only trying how long it takes
		return
	}
	plain := all[0]
	for _, w := range all {
		b.Logf("%-33s CPU %6.0f ns a message, %+5.1f %%; time %+6.1f %%; allocated %6.0f bytes", w.name,
			tenth(w.cpu), 100*(tenth(w.cpu)/tenth(plain.cpu)-1), 100*(tenth(w.time)/tenth(plain.time)-1), tenth(w.bytes))
	}
}

// tenth is the tenth percentile.
func tenth(figures []float64) float64 { return slices.Sorted(slices.Values(figures))[len(figures)/10] }
