package hotpath_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// The servers have as much memory for pages as those of bench/: the least that a machine
// has for a database of a million letters.
var (
	postgres = testserver.Shared{Options: testserver.Options{Settings: map[string]string{
		"shared_buffers": "256MB", "max_wal_size": "4GB",
	}}}
	mariaDB = testserver.Shared{Options: testserver.Options{Settings: map[string]string{
		"innodb_buffer_pool_size": "256M", "innodb_log_file_size": "256M",
	}}}
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgres.Main(mariaDB.Main(m))) }

// patience bounds every wait: it is a safety net, never a measure.
const patience = 5 * time.Minute

// A note is the message: 200 bytes of JSON.
type note struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

// Kind names it.
func (note) Kind() string { return "note" }

func newNote() note {
	return note{N: 1_000_000, Text: "This text stands for what an application says about its work. It is as long as " +
		"it has to be to make the whole body two hundred bytes of JSON, no more."}
}

// A kind is one kind of store.
type kind struct {
	name    string
	address func(testing.TB) string
	insert  string
}

func kinds() []kind {
	const insert = "insert into effect (n, text) values (?, ?)"
	return []kind{
		{"SQLite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "hot.db") }, insert},
		{"PostgreSQL", func(t testing.TB) string {
			d := postgres.PostgreSQL(t)
			return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", d.Server.Superuser(), d.Server.Addr(), d.Name)
		}, "insert into effect (n, text) values ($1, $2)"},
		{"MariaDB", func(t testing.TB) string {
			d := mariaDB.MariaDB(t)
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		}, insert},
	}
}

// onEachStore runs a benchmark on each kind of store; one whose server is not
// installed is skipped.
func onEachStore(b *testing.B, run func(r *rig)) {
	for _, k := range kinds() {
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			run(newRig(b, k))
		})
	}
}

// A rig is a store with a table for effects.
type rig struct {
	*testing.B
	kind       kind
	store      *store.Store
	dispatcher *posthorn.Dispatcher
}

func newRig(b *testing.B, k kind) *rig {
	b.Helper()
	r := &rig{B: b, kind: k}
	var err error
	if r.store, err = open.Store(b.Context(), k.address(b), store.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := r.store.DB().ExecContext(b.Context(), "create table effect (n integer, text text)"); err != nil {
		b.Fatal(err)
	}
	if r.dispatcher, err = posthorn.NewDispatcher(r.store, posthorn.DispatcherOptions{}); err != nil {
		b.Fatal(err)
	}
	return r
}

// together is how many messages are sent by one call.
const together = 1000

// preload sends a message for each turn of the benchmark.
func (r *rig) preload() {
	r.Helper()
	for left := r.N; left > 0; left -= together {
		ms := make([]posthorn.Message, min(left, together))
		for i := range ms {
			ms[i] = newNote()
		}
		if _, err := r.dispatcher.DispatchMany(r.Context(), ms); err != nil {
			r.Fatal(err)
		}
	}
}

// drain measures a worker from its start until all messages are settled.
func (r *rig) drain(register func(*posthorn.Mux)) {
	r.Helper()
	r.preload()
	mux := posthorn.NewMux()
	register(mux)
	w, err := worker.New(r.store, mux, worker.Options{
		Concurrency: 64, Limits: worker.Limits{Messages: r.N}, Dispatcher: r.dispatcher,
	})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	r.ResetTimer()
	err = w.Run(ctx)
	r.StopTimer()
	if err != nil || ctx.Err() != nil {
		r.Fatalf("the worker ended with %v, %v", err, ctx.Err())
	}
	r.empty()
}

// empty makes sure that nothing is left.
func (r *rig) empty() {
	r.Helper()
	if n := r.count("posthorn_message"); n != 0 {
		r.Fatalf("%d messages are left", n)
	}
}

func (r *rig) count(table string) (n int) {
	r.Helper()
	if err := r.store.DB().QueryRowContext(r.Context(), "select count(*) from "+table).Scan(&n); err != nil {
		r.Fatal(err)
	}
	return n
}

// consume opens a consumer of the default queue.
func (r *rig) consume() driver.Consumer {
	r.Helper()
	c, err := r.store.Consume(r.Context(), driver.Subscription{
		Queues: []string{posthorn.DefaultQueue}, Lease: time.Minute, Worker: "w",
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}
