package failure_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/worker"
)

// A parcel is the message of these tests.
type parcel struct {
	N int

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (parcel) Kind() string { return "parcel" }

// A bench is a store with a worker whose handler fails as long as it is broken.
type bench struct {
	*testing.T
	path   string
	store  *store.Store
	mu     sync.Mutex
	broken bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, path: "sqlite:" + filepath.Join(t.TempDir(), "store.db"), broken: true}
	b.store = b.open()
	return b
}

func (b *bench) open() *store.Store {
	b.Helper()
	s, err := sqlite.Open(b.Context(), b.path, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// handle runs a worker until the function that it returns is called.
func (b *bench) handle() (stop func()) {
	b.Helper()
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(context.Context, parcel) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.broken {
			return posthorn.Reject(errors.New("broken"))
		}
		return nil
	})
	w, err := worker.New(b.store, mux, worker.Options{Queues: []string{"q"}})
	if err != nil {
		b.Fatal(err)
	}
	return b.beside(w.Run)
}

// beside runs something until the function that it returns is called.
func (b *bench) beside(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			b.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// bury makes n dead letters, and mends what broke them.
func (b *bench) bury(n int) {
	b.Helper()
	d, err := posthorn.NewDispatcher(b.store, posthorn.DispatcherOptions{Queue: "q"})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if _, err := d.Dispatch(b.Context(), parcel{N: i}); err != nil {
			b.Fatal(err)
		}
	}
	stop := b.handle()
	defer stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		sums, err := b.store.CountLetters(b.Context(), store.LetterFilter{})
		if err != nil {
			b.Fatal(err)
		}
		if len(sums) == 1 && sums[0].Count == n {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.broken = false
			return
		}
	}
	b.Fatal("not all are dead")
}

func (b *bench) start(o store.Operation) string {
	b.Helper()
	o, err := b.store.StartOperation(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	return o.ID
}

func executorOf(s *store.Store, name string) *failure.Executor {
	return failure.NewExecutor(s, failure.ExecutorOptions{
		Name: name, Poll: 10 * time.Millisecond, Lease: 300 * time.Millisecond,
	})
}

func TestAnExecutorCarriesAnOperationOnToItsEnd(t *testing.T) {
	b := newBench(t)
	b.bury(30)
	defer b.handle()()
	id := b.start(store.Operation{Action: store.ActionRetry, Canary: true})
	defer b.beside(executorOf(b.store, "first").Run)()
	told := 0
	o, err := failure.Watch(t.Context(), b.store, id, func(store.Operation, string) { told++ })
	if err != nil || o.State != store.OperationDone || o.Done != 30 || told < 2 {
		t.Errorf("it ended as %+v, %v, told %d times", o, err, told)
	}
}

func TestAnotherExecutorTakesOverFromOneThatFallsSilentOrStops(t *testing.T) {
	b := newBench(t)
	b.bury(10)
	defer b.handle()()
	id := b.start(store.Operation{Action: store.ActionRetry, Rate: 50})
	if _, err := b.store.TakeOperations(t.Context(), "silent", 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	b.beside(executorOf(b.open(), "early").Run)() // it has stopped by now
	defer b.beside(executorOf(b.open(), "late").Run)()
	o, err := failure.Watch(t.Context(), b.store, id, func(store.Operation, string) {})
	if err != nil || o.Done != 10 {
		t.Errorf("it ended as %+v, %v", o, err)
	}
}

func TestAnExecutorOfOneOperationLeavesTheOthersAlone(t *testing.T) {
	b := newBench(t)
	b.bury(4)
	other := b.start(store.Operation{Action: store.ActionRemove, Filter: store.LetterFilter{Limit: 2}})
	mine := b.start(store.Operation{Action: store.ActionRemove, Filter: store.LetterFilter{Limit: 1}})
	e := failure.NewExecutor(b.store, failure.ExecutorOptions{Name: "mine", Poll: 10 * time.Millisecond, Only: mine})
	defer b.beside(e.Run)()
	if o, err := failure.Watch(t.Context(), b.store, mine, func(store.Operation, string) {}); err != nil || o.Done != 1 {
		t.Errorf("it ended as %+v, %v", o, err)
	}
	if o, err := b.store.Operation(t.Context(), other); err != nil || o.State != store.OperationFreezing {
		t.Errorf("the other one is %+v, %v", o, err)
	}
}

// An executor that had to wait for hours looked each second, or without a pause where
// more was in flight than it looks at in one step.
func TestAnExecutorThatFindsNothingLooksLessOftenUpToAThirdOfItsLease(t *testing.T) {
	const ms = time.Millisecond
	var nothing store.Advance
	full := store.Advance{More: true}
	got := failure.Pauses(time.Second, nothing, nothing, full, nothing, nothing, nothing, store.Advance{Wait: 20 * ms},
		store.Advance{Found: 1}, nothing, store.Advance{Moved: 1}, nothing)
	want := []time.Duration{50 * ms, 100 * ms, ms, 200 * ms, time.Second / 3, time.Second / 3, 20 * ms,
		50 * ms, 100 * ms, ms, 50 * ms}
	if !slices.Equal(got, want) {
		t.Errorf("it waits %v, want %v", got, want)
	}
}

func TestAPreviewSaysWhatAnOperationWouldBeAbout(t *testing.T) {
	b := newBench(t)
	b.bury(7)
	o := store.Operation{Action: store.ActionRetry, Rate: 2, Filter: store.LetterFilter{Limit: 5}}
	p, err := failure.Foresee(t.Context(), b.store, o)
	if err != nil || p.Total != 5 || len(p.Samples) != 3 || p.Takes != 2500*time.Millisecond || p.Oldest.IsZero() {
		t.Errorf("preview %+v, %v", p, err)
	}
	if got := fmt.Sprint(p.By[0].Kind, p.By[0].Queue, p.By[0].Reason); got != "parcelqrejected" {
		t.Errorf("it is about %s", got)
	}
	o.Filter.Terms = []store.Term{{Field: store.FieldPayload, Path: "N", Op: store.OpLess, Values: []string{"3"}}}
	o.Action = store.ActionRemove
	if p, err = failure.Foresee(t.Context(), b.store, o); err != nil || p.Total != 3 {
		t.Errorf("preview %+v, %v", p, err)
	}
	defer b.beside(executorOf(b.store, "first").Run)()
	done, err := failure.Watch(t.Context(), b.store, b.start(o), func(store.Operation, string) {})
	if err != nil || done.Done != 3 || done.Total != 3 {
		t.Errorf("it ended as %+v, %v", done, err)
	}
}

func TestAMeasureTellsNoneFewAndMany(t *testing.T) {
	b := newBench(t)
	b.bury(failure.AtOnce + 5)
	below := func(n int) store.LetterFilter {
		return store.LetterFilter{Terms: []store.Term{{
			Field: store.FieldPayload, Path: "N", Op: store.OpLess, Values: []string{fmt.Sprint(n)},
		}}}
	}
	for _, c := range []struct {
		action store.Action
		filter store.LetterFilter
		want   int
	}{
		{store.ActionRetry, store.LetterFilter{}, failure.AtOnce + 1},
		{store.ActionRetry, store.LetterFilter{Limit: failure.AtOnce}, failure.AtOnce},
		{store.ActionRetry, store.LetterFilter{Limit: 1000}, failure.AtOnce + 1},
		{store.ActionRetry, store.LetterFilter{Kind: "none"}, 0},
		{store.ActionRemove, below(failure.AtOnce + 3), failure.AtOnce + 1},
		{store.ActionRemove, below(failure.AtOnce), failure.AtOnce},
		{store.ActionRestore, store.LetterFilter{}, 0}, // none is removed
	} {
		n, err := failure.Measure(t.Context(), b.store, store.Operation{Action: c.action, Filter: c.filter})
		if err != nil || n != c.want {
			t.Errorf("%s of %+v is about %d, %v, want %d", c.action, c.filter, n, err, c.want)
		}
	}
}

// Only who can validate edits makes them: others leave the operation alone.
func TestAnEditIsLeftToAnExecutorThatKnowsHandlers(t *testing.T) {
	b := newBench(t)
	b.bury(3)
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(context.Context, parcel) error { return nil })
	patch := []byte(`[{"op":"replace","path":"/N","value":17}]`)
	o, err := b.store.StartOperation(t.Context(), store.Operation{Action: store.ActionEdit, Patch: patch})
	try(t, err)
	stop := b.beside(executorOf(b.store, "strange").Run)
	time.Sleep(50 * time.Millisecond)
	o, err = b.store.Operation(t.Context(), o.ID)
	if stop(); err != nil || o.Holder != "" || o.Total != 0 {
		t.Errorf("it was taken: %+v, %v", o, err)
	}
	e := failure.NewExecutor(b.store, failure.ExecutorOptions{Name: "own", Poll: 10 * time.Millisecond, Mux: mux})
	defer b.beside(e.Run)()
	o, err = failure.Watch(t.Context(), b.store, o.ID, func(store.Operation, string) {})
	if err != nil || o.Done != 3 || o.Refused != 0 {
		t.Errorf("it ended as %+v, %v", o, err)
	}
	ls, err := b.store.Letters(t.Context(), store.LetterFilter{})
	want := `{"N":17,"secret":"` + witness.Secret + `"}`
	if err != nil || len(ls) != 3 || string(ls[2].Body) != want || ls[2].Revision != 1 {
		t.Errorf("letters %+v, %v", ls, err)
	}
}
