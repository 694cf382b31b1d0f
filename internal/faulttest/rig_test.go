package faulttest_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// The promise S12: after the last fault heals, work resumes within the greater
// of the lease and the longest pause, and a little more. The tests measure it
// and say it; they assert no more than that it comes at all, within patience.
const (
	lease    = 5 * time.Second
	bound    = lease + 5*time.Second
	patience = 2 * time.Minute
)

// A rig is a private server with workers and producers on its store.
type rig struct {
	t        *testing.T
	kind     kind
	server   *testserver.Server
	ledger   ledger
	admin    *sql.DB      // of the superuser
	producer *store.Store // that no load uses
	seen     *witness

	running sync.WaitGroup
	halt    context.CancelFunc // of the workers
	working context.Context    //nolint:containedctx // a rig is a test's own
	hush    context.CancelFunc // of the producers
	talking context.Context    //nolint:containedctx // a rig is a test's own
	slowest time.Duration      // resumption of work
}

// newRig starts a server with an empty store.
func newRig(t *testing.T, k kind, o testserver.Options) *rig {
	t.Helper()
	r := &rig{t: t, kind: k, server: k.start(t, o), seen: newWitness(t)}
	if err := r.server.Exec(k.prepare...); err != nil {
		t.Fatal(err)
	}
	admin, err := r.server.Open(r.server.Superuser(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	r.admin = admin
	admin.SetMaxOpenConns(1) // it stays, so that a server that is full has room for it
	if err := admin.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.working, r.halt = context.WithCancel(context.Background())
	r.talking, r.hush = context.WithCancel(context.Background())
	t.Cleanup(r.stop)
	s := r.open(r.server.Addr())
	for _, stmt := range []string{
		"create table effect (n integer not null)",
		"create table pair (id integer primary key, v integer not null)",
		"insert into pair values (1, 0), (2, 0)",
	} {
		if _, err := s.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	r.producer = s
	t.Cleanup(func() { r.close(s) })
	return r
}

// sendAll sends a message of each fate, by a way that no proxy is on.
func (r *rig) sendAll(fates ...string) {
	r.t.Helper()
	d := r.dispatcher(r.producer)
	for _, fate := range fates {
		if err := r.ledger.send(r.t.Context(), d, fate); err != nil {
			r.t.Errorf("send: %v", err)
		}
	}
}

// sendAndAwait sends a message and waits until it, or another, is done.
func (r *rig) sendAndAwait(fate string) {
	r.t.Helper()
	next := r.seen.nextDone()
	r.sendAll(fate)
	r.await(next)
}

// open opens the store at an address.
func (r *rig) open(addr string) *store.Store {
	r.t.Helper()
	s, err := open.Store(r.t.Context(), r.kind.at(addr), store.Options{Log: slog.New(r.seen)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) close(s *store.Store) {
	if err := s.Close(); err != nil {
		r.t.Errorf("close store: %v", err)
	}
}

// work starts two workers at an address, each with a store of its own.
func (r *rig) work(addr string) {
	r.t.Helper()
	for range 2 {
		s := r.open(addr)
		w, err := worker.New(watched{s, r.seen}, r.mux(), worker.Options{
			Lease: lease, Heartbeat: time.Second, DrainTimeout: 10 * time.Second, Log: slog.New(r.seen),
			Observe: r.seen.event, Retry: posthorn.RetryPolicy{Delay: 50 * time.Millisecond},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		r.running.Go(func() {
			defer r.close(s)
			if err := w.Run(r.working); err != nil {
				r.t.Errorf("worker: %v", err)
			}
		})
	}
}

// load starts producers at an address.
func (r *rig) load(addr string) {
	r.t.Helper()
	s := r.open(addr)
	d := r.dispatcher(s)
	r.running.Go(func() {
		defer r.close(s)
		var producers sync.WaitGroup
		for range 3 {
			producers.Go(func() { r.ledger.produce(r.talking, d, 5*time.Millisecond) })
		}
		producers.Wait()
	})
}

func (r *rig) dispatcher(s *store.Store) *posthorn.Dispatcher {
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// exec does something to the server that must succeed.
func (r *rig) exec(statements ...string) {
	r.t.Helper()
	if err := r.server.Exec(statements...); err != nil {
		r.t.Fatal(err)
	}
}

// healed is told that a fault is over. It waits until work goes on.
func (r *rig) healed() {
	r.t.Helper()
	since := time.Now()
	r.await(r.seen.nextDone())
	r.slowest = max(r.slowest, time.Since(since))
}

func (r *rig) await(work <-chan struct{}) {
	r.t.Helper()
	select {
	case <-work:
	case <-time.After(patience):
		r.t.Fatalf("no work within %s", patience)
	}
}

// awaitThat waits until something is so.
func (r *rig) awaitThat(what string, so func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("it is not so that %s, within %s", what, 5*patience)
		}
	}
}

// stop ends producers and workers.
func (r *rig) stop() {
	r.hush()
	r.halt()
	r.running.Wait()
}

// settle ends the producers, lets the workers finish, and checks the ledger.
// faults is how often the store was away.
func (r *rig) settle(faults int) verdict {
	r.t.Helper()
	r.hush()
	s := r.open(r.server.Addr())
	defer r.close(s)
	r.awaitEmpty(s)
	r.stop()
	v := r.ledger.check(r.t, effectsOf(r.t, s.DB()), r.letters(s))
	out := r.ledger.tally()
	r.t.Logf("%d faults: ok %d, fail %d, unknown %d; effects %d, dead %d; lost %d, doubled %d, other %d",
		faults, out[accepted], out[refused], out[unknown], v.effects, v.dead, v.lost, v.doubled, v.ghosts+v.both)
	r.t.Logf("work resumed within %s at most (S12 allows %s); %s", r.slowest.Round(time.Millisecond), bound, r.seen)
	if v.effects == 0 || out[accepted] == 0 {
		r.t.Error("nothing was done: the test shows nothing")
	}
	r.checkAttempts(s)
	r.seen.check(faults)
	return v
}

// awaitEmpty waits until no message is live.
func (r *rig) awaitEmpty(s *store.Store) {
	r.t.Helper()
	live := int64(0)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		stats, err := s.Stats(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		live = 0
		for _, q := range stats {
			live += q.Ready + q.Delayed + q.InFlight + q.Suspects
		}
		if live == 0 {
			return
		}
	}
	r.t.Fatalf("%d messages are left that nobody handles", live)
}

// letters are the reasons of the dead letters by the number of the message.
func (r *rig) letters(s *store.Store) map[int]string {
	r.t.Helper()
	out, past := map[int]string{}, int64(0)
	for {
		ls, err := s.Letters(r.t.Context(), store.LetterFilter{Past: past, Limit: 500})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, l := range ls {
			var n int
			if _, err := fmt.Sscanf(string(l.Body), `{"N":%d,`, &n); err != nil {
				r.t.Fatalf("letter %s: %v: %s", l.ID, err, l.Body)
			}
			if out[n] != "" {
				r.t.Errorf("message %d is dead twice", n)
			}
			out[n], past = l.Reason, l.Seq
		}
		if len(ls) == 0 {
			return out
		}
	}
}

// checkAttempts looks at the history that is left, that of the dead letters: no
// attempt may have been spent but by those that were to be rejected.
func (r *rig) checkAttempts(s *store.Store) {
	r.t.Helper()
	var class string
	var n int
	rows, err := s.DB().QueryContext(r.t.Context(), "select class, count(*) from posthorn_attempt group by class")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&class, &n); err != nil {
			r.t.Fatal(err)
		}
		r.seen.history(class, n)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
}
