package hotpath_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// Settings of BenchmarkOperationBesideOthers.
var (
	group = flag.Int("group", 10_000, "dead letters that an operation retries")
	pairs = flag.Int("pairs", 2, "pairs of phases, at most, in which the operation is paused, and goes on")
)

// What the retry of a group costs the other queues, and how fast it is. It has a canary
// and the full rate. It is paused and resumed in turns, so that what others do on the
// machine hits both alike: what counts is the ratio.
func BenchmarkOperationBesideOthers(b *testing.B) {
	// full: the others have always more to do than the machine can; third: they take a
	// third of what it can do, as work comes in.
	b.Run("full", func(b *testing.B) { onEachStore(b, func(r *rig) { retryBeside(r, 1) }) })
	b.Run("third", func(b *testing.B) { onEachStore(b, func(r *rig) { retryBeside(r, 1./3) }) })
}

// Phases of a pair.
const (
	calm  = 2 * time.Second
	stir  = 3 * calm
	begun = time.Second // until a paused or resumed operation is in its stride
)

func retryBeside(r *rig, part float64) {
	for r.Loop() { //nolint:revive // what is measured takes its own time, once; it clears what was reported
	}
	var handled, retried atomic.Int64
	mourn(r, *group)
	defer beside(r, part, &handled, &retried)()
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	e := failure.NewExecutor(r.store, failure.ExecutorOptions{Name: "bench", Poll: 100 * time.Millisecond, Lease: begun})
	wg.Go(func() { _ = e.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	o, err := r.store.StartOperation(ctx, store.Operation{
		Action: store.ActionRetry, Canary: true, Filter: store.LetterFilter{Queue: "dead"},
	})
	if err != nil {
		r.Fatal(err)
	}
	p := phases{rig: r, id: o.ID, handled: &handled, retried: &retried}
	p.until(func(o store.Operation) bool { return o.State != store.OperationFreezing })
	for p.goesOn() && len(p.ratios) < *pairs {
		p.pair()
	}
	p.report()
}

// phases are pairs of phases, the operation being paused in the first.
type phases struct {
	*rig
	id               string
	handled, retried *atomic.Int64
	ratios           []float64 // of the others' rates, with the operation to without
	calm, stir       rates     // of the others
	speeds           []float64 // of the operation
}

func (p *phases) goesOn() bool {
	o, err := p.store.Operation(p.Context(), p.id)
	if err != nil || o.State == store.OperationStopped || o.Failed > 0 || o.Refused > 0 {
		p.Fatalf("it is %+v, %v", o, err)
	}
	return !o.Ends()
}

// until waits for something to be true of the operation.
func (p *phases) until(so func(store.Operation) bool) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(calm / 100) {
		if o, err := p.store.Operation(p.Context(), p.id); err != nil || so(o) {
			return
		}
	}
}

// pair measures the others without the operation, and with it unless that ends.
func (p *phases) pair() {
	if _, err := p.store.PauseOperation(p.Context(), p.id, "calm"); err != nil {
		return // it has just ended
	}
	p.until(func(o store.Operation) bool { return o.Flying == 0 })
	time.Sleep(begun)
	before, _ := p.measure(calm)
	if _, err := p.store.ResumeOperation(p.Context(), p.id); err != nil {
		p.Fatal(err)
	}
	time.Sleep(begun)
	during, speed := p.measure(stir)
	if !p.goesOn() && len(p.ratios) > 0 {
		return
	}
	p.ratios, p.speeds = append(p.ratios, during.a()/before.a()), append(p.speeds, speed)
	p.calm, p.stir = p.calm.and(before), p.stir.and(during)
}

// rates are how many messages were handled in some seconds, and in so many of the
// processors' that this process and the server had: where other processes take most of
// the machine, that tells better what the messages cost.
type rates struct{ messages, seconds, busy float64 }

func (r rates) a() float64 { return r.messages / r.seconds }

func (r rates) cost() float64 { return r.messages / r.busy }

func (r rates) and(o rates) rates {
	return rates{r.messages + o.messages, r.seconds + o.seconds, r.busy + o.busy}
}

// measure tells what was handled of the others, and a second of the operation's.
func (p *phases) measure(d time.Duration) (others rates, own float64) {
	began, others0, own0, busy0 := time.Now(), p.handled.Load(), p.retried.Load(), processors(p.B)
	time.Sleep(d)
	took := time.Since(began).Seconds()
	others = rates{float64(p.handled.Load() - others0), took, processors(p.B) - busy0}
	return others, float64(p.retried.Load()-own0) / took
}

// processors is how many seconds of processors this process and its descendants have had.
func processors(b *testing.B) (seconds float64) {
	b.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	parent, ticks := map[int]int{}, map[int]float64{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil { // it has ended
			continue
		}
		var pid int
		_, _ = fmt.Sscan(string(text), &pid)
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		parent[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] { // its own, and those of children that have ended
			n, _ := strconv.ParseFloat(field, 64)
			ticks[pid] += n
		}
	}
	const second = 100
	for pid, n := range ticks {
		above := pid
		for above > 1 && above != os.Getpid() {
			above = parent[above]
		}
		if above == os.Getpid() {
			seconds += n / second
		}
	}
	return seconds
}

func (p *phases) report() {
	if len(p.ratios) == 0 {
		p.Fatal("it ended before anything was measured: give it a larger -group")
	}
	mean := func(xs []float64) (sum float64) {
		for _, x := range xs {
			sum += x / float64(len(xs))
		}
		return sum
	}
	slices.Sort(p.ratios)
	p.ReportMetric(p.calm.a(), "others/s-before")
	p.ReportMetric(p.stir.a(), "others/s-during")
	p.ReportMetric(100*(1-p.stir.a()/p.calm.a()), "%-less")
	p.ReportMetric(100*(1-p.stir.cost()/p.calm.cost()), "%-less-by-cpu")
	p.ReportMetric(100*(1-p.ratios[len(p.ratios)/2]), "%-less-median")
	p.ReportMetric(mean(p.speeds), "retried/s")
	p.ReportMetric(float64(len(p.ratios)), "pairs")
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

// beside runs a worker for the dead queue and one for another queue, which is given work:
// without end, or a part of what it has been seen to do.
func beside(r *rig, part float64, handled, retried *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	for queue, count := range map[string]*atomic.Int64{"dead": retried, "busy": handled} {
		mux := posthorn.NewMux()
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			_, err := tx.ExecContext(ctx, r.kind.insert, n.N, n.Text)
			if err == nil {
				count.Add(1)
			}
			return err
		})
		w, err := worker.New(r.store, mux, worker.Options{Queues: []string{queue}, Concurrency: 16})
		if err != nil {
			r.Fatal(err)
		}
		wg.Go(func() { _ = w.Run(ctx) })
	}
	f := &feeder{rig: r, handled: handled}
	fed := make(chan struct{})
	wg.Go(func() { f.feed(ctx, part, fed) })
	<-fed
	return func() {
		cancel()
		wg.Wait()
	}
}

// A feeder gives work to the busy queue.
type feeder struct {
	*rig
	handled *atomic.Int64
	sent    int64
}

// backlog is how many messages wait in a queue that is full.
const backlog = 5000

// feed keeps the queue full, or, after a while in which it finds out how much that is, a
// part of it. It closes fed when that begins.
func (f *feeder) feed(ctx context.Context, part float64, fed chan struct{}) {
	began, first, warm := time.Now().Add(calm), int64(0), false
	for ctx.Err() == nil && (part == 1 || time.Since(began) < calm) {
		if !warm && time.Since(began) >= 0 {
			warm, first = true, f.handled.Load()
			if part == 1 {
				close(fed)
			}
		}
		if f.sent-f.handled.Load() < backlog {
			f.send(ctx, 500)
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	if part == 1 {
		return
	}
	rate := part * float64(f.handled.Load()-first) / time.Since(began).Seconds()
	for f.sent > f.handled.Load() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(fed)
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for began, first := time.Now(), f.sent; ctx.Err() == nil; <-tick.C {
		if due := int64(rate*time.Since(began).Seconds()) - (f.sent - first); due > 0 {
			f.send(ctx, due)
		}
	}
}

func (f *feeder) send(ctx context.Context, n int64) {
	var es []driver.Envelope
	for range n {
		f.sent++
		es = append(es, driver.Envelope{
			ID: fmt.Sprint("b", f.sent), Kind: "note", Queue: "busy", Body: []byte(`{"n":1,"text":"x"}`), SentAt: time.Now(),
		})
	}
	_ = f.store.Send(ctx, es...) // the end of the benchmark may come in between
}
