package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/worker"
)

// patience bounds every wait of a test: it is a safety net, never a measure.
const patience = 30 * time.Second

// A job is the message of most tests.
type job struct {
	N   int    `json:"n"`
	How string `json:"how"`

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (job) Kind() string { return "job" }

// noRetry makes every failure a dead letter.
func noRetry() posthorn.HandlerOption {
	return posthorn.WithRetry(posthorn.RetryPolicy{MaxRetries: posthorn.NoRetry})
}

// quick is a policy whose retries come at once.
func quick(retries int) posthorn.RetryPolicy {
	return posthorn.RetryPolicy{MaxRetries: retries, Delay: time.Millisecond, Jitter: -1}
}

// newPath is the address of a store in a directory of the test's own.
func newPath(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "store.db") }

// openStore opens a store for a test that wants no power-safe commits.
func openStore(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dsn+"?synchronous=normal", store.Options{
		StuckGrace: 100 * time.Millisecond, GroupBudget: time.Second, Poll: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	exec(t, s, "create table if not exists effect (id text)")
	return s
}

func newStore(t *testing.T) *store.Store { t.Helper(); return openStore(t, newPath(t)) }

func exec(t *testing.T, s *store.Store, stmt string, args ...any) {
	t.Helper()
	if _, err := s.DB().ExecContext(t.Context(), stmt, args...); err != nil {
		t.Fatal(err)
	}
}

// count is the number that a query gives.
func count(t *testing.T, s *store.Store, query string, args ...any) int {
	t.Helper()
	var n int
	if err := s.DB().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func dispatcher(t *testing.T, tr driver.Transport) *posthorn.Dispatcher {
	t.Helper()
	d, err := posthorn.NewDispatcher(tr, posthorn.DispatcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dispatch(t *testing.T, tr driver.Transport, msg posthorn.Message, opts ...posthorn.DispatchOption) string {
	t.Helper()
	opts = append(opts, posthorn.WithHeader("authorization", witness.Secret))
	id, err := dispatcher(t, tr).Dispatch(t.Context(), msg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A running is a worker that runs, and what it reported.
type running struct {
	*worker.Worker
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}
	err  error

	mu     sync.Mutex
	events []worker.Event
	more   chan struct{}
}

// start runs a worker until the test ends or something stops it.
func start(t *testing.T, tr driver.Transport, m *posthorn.Mux, o worker.Options) *running {
	t.Helper()
	r := &running{t: t, done: make(chan struct{}), more: make(chan struct{}, 1)}
	o.Observe = r.note
	w, err := worker.New(tr, m, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	r.Worker, r.stop = w, stop
	go func() {
		defer close(r.done)
		r.err = w.Run(ctx)
	}()
	t.Cleanup(r.end)
	return r
}

func (r *running) note(e worker.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// end stops the worker and waits for it.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	r.wait()
}

// wait waits for the worker's end.
func (r *running) wait() {
	r.t.Helper()
	await(r.t, r.done, "the end of the worker")
}

// seen are the events so far that match.
func (r *running) seen(match func(worker.Event) bool) []worker.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []worker.Event
	for _, e := range r.events {
		if match(e) {
			out = append(out, e)
		}
	}
	return out
}

// until waits for n events that match.
func (r *running) until(n int, match func(worker.Event) bool) []worker.Event {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		if out := r.seen(match); len(out) >= n {
			return out
		}
		select {
		case <-r.more:
		case <-timeout:
			r.t.Fatalf("waited in vain for %d events; all: %+v", n, r.seen(func(worker.Event) bool { return true }))
		}
	}
}

func verdict(v driver.Verdict) func(worker.Event) bool {
	return func(e worker.Event) bool { return !e.Stuck && e.Verdict == v }
}

func class(c driver.Class) func(worker.Event) bool {
	return func(e worker.Event) bool { return !e.Stuck && e.Class == c }
}

func stuck(e worker.Event) bool { return e.Stuck }

// await waits for a channel.
func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("waited in vain for " + what)
	}
}

// letter is the one dead letter of a message, with its history.
func letter(t *testing.T, s *store.Store, id string) store.Letter {
	t.Helper()
	p, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil || p.Letter == nil {
		t.Fatalf("message %s is no dead letter: %+v", id, p)
	}
	return *p.Letter
}

// place is where a message is; empty when it is done.
func place(t *testing.T, s *store.Store, id string) store.Place {
	t.Helper()
	p, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return ""
	}
	return p.Place
}

// claim takes messages with a consumer of the test's own.
func claim(t *testing.T, tr driver.Transport, n int) (driver.Consumer, []driver.Delivery) {
	t.Helper()
	c, err := tr.Consume(t.Context(), driver.Subscription{
		Queues: []string{posthorn.DefaultQueue}, Lease: patience, Worker: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ds, err := c.Receive(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return c, ds
}

var (
	errBoo = errors.New("boo")
	silent = slog.New(slog.DiscardHandler)
)
