package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A Source is what a store tells of itself; *store.Store is one.
type Source interface {
	Stats(ctx context.Context) ([]store.QueueStats, error)
	Workers(ctx context.Context) ([]driver.WorkerRecord, time.Time, error)
	Pauses(ctx context.Context) ([]store.Pause, time.Time, error)
	GroupStates(ctx context.Context) (map[store.GroupState]int64, error)
}

// How long figures of the store are waited for and kept.
const (
	readWithin = 5 * time.Second  // by whoever reads
	waitFor    = 2 * time.Second  // by a scrape
	keepFor    = 5 * time.Second  // at least; and never more than a tenth of the time is spent on reading
	staleAfter = 30 * time.Second // more, while fresh ones are being read
)

// A snapshot is what the store said at a time.
type snapshot struct {
	at      time.Time
	took    time.Duration
	err     error
	now     time.Time // the store's clock
	queues  []store.QueueStats
	workers []driver.WorkerRecord
	pauses  []store.Pause
	groups  map[store.GroupState]int64
}

// A reader asks the store for its figures when somebody wants them, on a goroutine of its
// own, so that nobody has to wait for a store that does not answer.
type reader struct {
	source Source
	asked  chan struct{} // somebody wants figures; at most one waits

	mu      sync.Mutex
	last    snapshot
	reading chan struct{} // closed at the end of the reading that was asked for; nil if none was
}

func newReader(s Source) *reader { return &reader{source: s, asked: make(chan struct{}, 1)} }

// run reads when it is asked to, until ctx ends.
func (r *reader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
		}
		s := r.read(ctx)
		r.mu.Lock()
		r.last = s
		close(r.reading)
		r.reading = nil
		r.mu.Unlock()
	}
}

func (r *reader) read(ctx context.Context) (s snapshot) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	began := time.Now()
	if s.queues, s.err = r.source.Stats(ctx); s.err == nil {
		s.workers, s.now, s.err = r.source.Workers(ctx)
	}
	if s.err == nil {
		s.pauses, _, s.err = r.source.Pauses(ctx)
	}
	if s.err == nil {
		s.groups, s.err = r.source.GroupStates(ctx)
	}
	s.at, s.took = time.Now(), time.Since(began)
	return s
}

// figures are the store's. ok is false when it does not answer: nothing is known then.
func (r *reader) figures() (s snapshot, ok bool) {
	r.mu.Lock()
	if r.reading == nil && time.Since(r.last.at) > r.last.keep() {
		r.reading = make(chan struct{})
		r.asked <- struct{}{} // there is room: one reading is asked for at a time
	}
	reading := r.reading
	r.mu.Unlock()
	if reading != nil {
		late := time.NewTimer(waitFor)
		defer late.Stop()
		select {
		case <-reading:
		case <-late.C: // a store that is slow is not down
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.last.err == nil && time.Since(r.last.at) < r.last.keep()+staleAfter
}

// keep is how long the figures are fresh.
func (s snapshot) keep() time.Duration { return max(keepFor, 10*s.took) }

// A storeCollector shows the store's figures to Prometheus. What is unknown is absent.
type storeCollector struct {
	*reader
	known Known
	tally *Tally // whose words are used

	up, took, age                               *prometheus.Desc
	messages, oldest, dead, groups, paused      *prometheus.Desc
	workers, inHand, slots, memory, memoryLimit *prometheus.Desc
}

func newStoreCollector(r *reader, known Known, t *Tally) *storeCollector {
	return &storeCollector{
		reader: r, known: known, tally: t,
		up:   gauge("posthorn_store_up", "Whether the store answers: 1, or 0."),
		took: gauge("posthorn_store_read_seconds", "How long the store took to tell its figures."),
		age:  gauge("posthorn_store_figures_age_seconds", "How old the store's figures are."),
		messages: gauge("posthorn_queue_messages", "Live messages: ready, delayed, in_flight or suspect.",
			"transport", "queue", "state"),
		oldest: gauge("posthorn_queue_oldest_ready_seconds", "How long the oldest ready message has been due.",
			"transport", "queue"),
		dead: gauge("posthorn_dead_letters", "Dead letters.", "transport", "queue"),
		groups: gauge("posthorn_dead_letter_groups",
			"Groups of dead letters of one fault: open, acknowledged, muted, resolved or regressed.", "state"),
		paused: gauge("posthorn_queue_paused", "1 for a queue that is paused.", "transport", "queue"),
		workers: gauge("posthorn_workers", "Workers: running, stopping, or silent without a heartbeat.",
			"program", "state"),
		inHand: gauge("posthorn_worker_messages_in_hand", "Messages that workers hold.", "program"),
		slots:  gauge("posthorn_worker_slots", "Handlers that workers can run at once.", "program"),
		memory: gauge("posthorn_worker_resident_memory_bytes", "Resident memory of the largest worker.", "program"),
		memoryLimit: gauge("posthorn_worker_memory_limit_bytes", "At which memory a worker is replaced; absent if at none.",
			"program"),
	}
}

// Describe names the metrics.
func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.up, c.took, c.age, c.messages, c.oldest, c.dead, c.groups, c.paused, c.workers, c.inHand, c.slots, c.memory,
		c.memoryLimit,
	} {
		ch <- d
	}
}

// Collect shows the figures, or that there are none.
func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	s, ok := c.figures()
	up := 0.0
	if ok {
		up = 1
	}
	ch <- value(c.up, up)
	if !ok {
		return
	}
	ch <- value(c.took, s.took.Seconds())
	ch <- value(c.age, time.Since(s.at).Seconds())
	sheet := &sheet{collector: c, sums: map[cell]float64{}}
	sheet.queues(s)
	sheet.fleet(s)
	sheet.groups(s)
	for _, m := range sheet.metrics() {
		ch <- m
	}
}

func value(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
