package crashtest_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
)

// stores are addresses of stores of each kind.
func stores() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "store.db") },
		"PostgreSQL": func(t *testing.T) string { return servers.PostgreSQL(t).DSN() },
		"MariaDB": func(t *testing.T) string {
			d := servers.MariaDB(t)
			return fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		},
	}
}

// opened opens a store until the test ends.
func opened(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := open.Store(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A fate is what happens to a write.
type fate int

const (
	well   fate = iota
	before      // it is not done
	after       // it is done, and nobody is told
)

// An unsure engine lets a write fail, on either side of its commit.
type unsure struct {
	store.Engine
	mu   sync.Mutex
	wait int // writes that go well before
	next fate
}

// arm lets the write after some others fail.
func (u *unsure) arm(f fate, wait int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next, u.wait = f, wait
}

func (u *unsure) fate() fate {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wait--; u.wait >= 0 {
		return well
	}
	f := u.next
	u.next = well
	return f
}

// Write does what the fate says.
func (u *unsure) Write(ctx context.Context, w *store.Write) error {
	switch u.fate() {
	case before:
		return fmt.Errorf("cut before the commit: %w", driver.ErrUnavailable)
	case after:
		if err := u.Engine.Write(ctx, w); err != nil {
			return err
		}
		return fmt.Errorf("cut after the commit: %w", driver.ErrUnavailable)
	}
	return u.Engine.Write(ctx, w)
}

// A workshop is a store on which operations run, while others change the same letters.
type workshop struct {
	t     *rapid.T
	store *store.Store // of the operators and of the worker
	queue string
	ids   []string

	executors []*executor

	mu    sync.Mutex
	acked map[string]int
	died  map[string]int
	hands bool // somebody has retried or removed letters by hand
	ops   []string
}

// An executor is one that dies at any time: it forgets what it held.
type executor struct {
	store  *store.Store
	engine *unsure
	turns  []store.Turn
}

// must ends the history when the store cannot be used.
func (w *workshop) must(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

// bury makes a dead letter of each message.
func (w *workshop) bury() {
	var es []driver.Envelope
	for _, id := range w.ids {
		es = append(es, driver.Envelope{ID: id, Kind: "k", Queue: w.queue, Body: []byte("{}"), SentAt: time.Now()})
	}
	w.must(w.store.Send(context.Background(), es...))
	w.handle(len(w.ids), func(string) bool { return false })
	w.died = map[string]int{}
}

// live is the number of messages that are not done.
func (w *workshop) live() (n int) {
	row := w.store.DB().QueryRow("select count(*) from posthorn_message where queue = '" + w.queue + "'")
	w.must(row.Scan(&n))
	return n
}

// handle handles so many messages at most; those that are not ok die.
func (w *workshop) handle(most int, ok func(id string) bool) {
	if w.live() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := w.store.Consume(ctx, driver.Subscription{Queues: []string{w.queue}, Lease: time.Minute, Worker: "w"})
	w.must(err)
	defer func() { _ = c.Close() }()
	for n := 0; n < most && w.live() > 0; {
		ds, err := c.Receive(ctx, most-n)
		w.must(err)
		for _, d := range ds {
			n++
			w.settle(c, d, ok(d.ID))
		}
	}
}

func (w *workshop) settle(c driver.Consumer, d driver.Delivery, ok bool) {
	verdict := driver.Settlement{Delivery: d}
	if !ok {
		verdict.Verdict, verdict.Reason = driver.Bury, driver.ReasonRejected
		verdict.Attempt = &driver.Attempt{Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassReject, Error: "no"}
	}
	w.must(c.Settle(context.Background(), verdict))
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok {
		w.acked[d.ID]++
	} else {
		w.died[d.ID]++
	}
}

// letter is one of the letters, dead or discarded.
func (w *workshop) letter(n int) (seqs []int64) {
	ls, err := w.store.Letters(context.Background(), store.LetterFilter{IDs: []string{w.ids[n%len(w.ids)]}})
	w.must(err)
	for _, l := range ls {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

// byHand changes a letter as operators do. That it is in use elsewhere is no fault.
func (w *workshop) byHand(n int, change func(ctx context.Context, seqs ...int64) (int, error)) {
	if seqs := w.letter(n); len(seqs) > 0 {
		w.hands = true
		_, _ = change(context.Background(), seqs...)
	}
}

// memory is how many turns an executor believes to hold.
const memory = 2

// take lets an executor take what is free.
func (e *executor) take() {
	ts, err := e.store.TakeOperations(context.Background(), "e", time.Millisecond) // others may take it at once
	if err == nil {
		e.turns = append(e.turns, ts...)
		e.turns = e.turns[max(0, len(e.turns)-memory):]
	}
}

// advance lets an executor take what is free, and go a step with all that it believes to
// hold.
func (e *executor) advance() {
	e.take()
	for i := range e.turns {
		_, _ = e.store.Advance(context.Background(), &e.turns[i]) // whatever it says, the store has to be right
	}
}

// cut lets an executor go a step that fails, in one of its writes.
func (e *executor) cut(f fate, wait int) {
	e.take()
	if n := len(e.turns); n > 0 {
		e.engine.arm(f, wait)
		_, _ = e.store.Advance(context.Background(), &e.turns[n-1])
		e.engine.arm(well, 0)
	}
}

// start begins an operation.
func (w *workshop) start(o store.Operation) {
	o.Filter.Queue = w.queue
	o, err := w.store.StartOperation(context.Background(), o)
	w.must(err)
	w.ops = append(w.ops, o.ID)
}

// turn pauses, resumes or cancels an operation, if it can be.
func (w *workshop) turn(n int, change func(id string) (store.Operation, error)) {
	if len(w.ops) > 0 {
		_, _ = change(w.ops[n%len(w.ops)])
	}
}

// actions are what may happen. Each takes a number that is drawn.
func (w *workshop) actions() map[string]func(n int) {
	ctx, s := context.Background(), w.store
	someDie := func(n int) func(string) bool {
		return func(id string) bool { return (int(id[len(id)-1])+n)%3 != 0 }
	}
	both := append([]*executor(nil), w.executors...)
	return map[string]func(int){
		"advance":    func(n int) { both[n%2].advance() },
		"cut before": func(n int) { both[n%2].cut(before, n/2%2) },
		"cut after":  func(n int) { both[n%2].cut(after, n/2%2) },
		"die":        func(n int) { both[n%2].turns = nil },
		"handle":     func(n int) { w.handle(1+n%5, someDie(n)) },
		"retry":      func(n int) { w.byHand(n, s.RetryLetters) },
		"remove":     func(n int) { w.byHand(n, s.RemoveLetters) },
		"another":    func(n int) { w.start(store.Operation{Action: []store.Action{"retry", "remove", "restore"}[n%3]}) },
		"pause": func(n int) {
			w.turn(n, func(id string) (store.Operation, error) { return s.PauseOperation(ctx, id, "") })
		},
		"resume": func(n int) { w.turn(n, func(id string) (store.Operation, error) { return s.ResumeOperation(ctx, id) }) },
		"cancel": func(n int) {
			w.turn(n, func(id string) (store.Operation, error) { return s.CancelOperation(ctx, id, "") })
		},
		"all at once": func(n int) {
			var wg sync.WaitGroup
			for _, e := range both {
				wg.Go(e.advance)
			}
			wg.Go(func() { w.handle(2, someDie(n)) })
			wg.Go(func() { w.byHand(n, s.RetryLetters) })
			wg.Wait()
		},
	}
}

// settleAll heals everything, and lets all that is under way end.
func (w *workshop) settleAll() {
	for range 200 { // each brings them on
		for _, e := range w.executors {
			e.engine.arm(well, 0)
			e.advance()
		}
		w.handle(len(w.ids), func(string) bool { return true })
		active, err := w.store.Operations(context.Background(), store.OperationFilter{Active: true})
		w.must(err)
		if len(active) == 0 && w.live() == 0 {
			return
		}
	}
	w.t.Fatal("the operations do not end")
}

// check says what is wrong: each message is done once, dead, or discarded, and the
// operations' figures agree.
func (w *workshop) check() {
	for _, id := range w.ids {
		var dead, gone int
		row := w.store.DB().QueryRow("select count(*), count(discarded_at) from posthorn_letter where id = '" + id + "'")
		w.must(row.Scan(&dead, &gone))
		if w.acked[id]+dead != 1 {
			w.t.Errorf("%s is done %d times, and dead %d times", id, w.acked[id], dead)
		}
	}
	for _, id := range w.ops {
		o, err := w.store.Operation(context.Background(), id)
		w.must(err)
		if o.Flying != 0 || o.Left() < 0 || o.State == store.OperationDone && o.Left() > 0 {
			w.t.Errorf("%s is %s: %+v", id, o.State, o)
		}
		if deaths := total(w.died); len(w.ops) == 1 && !w.hands && (o.Done != total(w.acked) || o.Failed != deaths) {
			w.t.Errorf("it says %d done and %d failed, want %d and %d", o.Done, o.Failed, total(w.acked), deaths)
		}
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// history is one random history on a store.
func history(t *rapid.T, s *store.Store, executors []*executor, number int64) {
	w := &workshop{
		t: t, store: s, queue: fmt.Sprint("q", number), executors: executors,
		acked: map[string]int{}, died: map[string]int{},
	}
	for i := range rapid.IntRange(1, 12).Draw(t, "letters") {
		w.ids = append(w.ids, fmt.Sprintf("h%d-%02d", number, i))
	}
	w.bury()
	w.start(store.Operation{Action: store.ActionRetry, Canary: rapid.Bool().Draw(t, "canary")})
	if rapid.Bool().Draw(t, "frozen") {
		executors[0].advance()
	}
	actions := w.actions()
	names := append(slices.Sorted(maps.Keys(actions)), "advance", "advance", "advance", "cut after", "cut before", "handle", "handle")
	for range rapid.IntRange(5, 30).Draw(t, "steps") {
		actions[rapid.SampledFrom(names).Draw(t, "action")](rapid.IntRange(0, 30).Draw(t, "number"))
	}
	w.settleAll()
	w.check()
}

// Whatever is cut, dies or comes in between, each letter of an operation has one end.
func TestEachLetterOfAnOperationHasOneEnd(t *testing.T) {
	for name, dsn := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := dsn(t)
			s := opened(t, where)
			var executors []*executor
			for range 2 {
				e := &executor{store: opened(t, where)}
				e.engine = &unsure{Engine: e.store.Engine}
				e.store.Engine = e.engine
				executors = append(executors, e)
			}
			number, rounds := int64(0), 1
			if name == "SQLite" { // which is fast
				rounds = 3
			}
			check := func(t *rapid.T) {
				number++
				history(t, s, executors, number)
			}
			for range rounds {
				rapid.Check(t, check)
			}
		})
	}
}
