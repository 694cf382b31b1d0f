package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// A Tally counts what happens in a process: it is given to workers as their Observe, and
// to a store as its Meter. Its size is bounded, whatever the messages say. It is safe for
// concurrent use.
type Tally struct {
	transports map[string]string // of queues
	kinds      [familyCount]family

	mu     sync.Mutex
	words  map[dimension]*vocabulary
	series map[key]*series
	count  [familyCount]int // series of each family
	known  map[course]*counted
	pools  map[string][]store.PoolUse
}

// Known is what is known beforehand. It has a name of its own even when more turns up
// than is counted apart.
type Known struct {
	Kinds    []string          // that have handlers
	Queues   map[string]string // → its transport
	Programs []string
}

// A key names a series: its family, and the values of its labels.
type key struct {
	family int
	values [maxLabels]string
}

// A series is a counter, or a histogram.
type series struct {
	count     uint64
	sum       float64
	buckets   []uint64 // one more than the family's: what is over all of them
	exemplars []exemplar
}

// An exemplar is a trace that fell into a bucket; none while Trace is empty.
type exemplar struct {
	Trace string
	Value float64
	At    time.Time
}

// NewTally makes an empty Tally.
func NewTally(k Known) *Tally {
	t := &Tally{
		transports: maps.Clone(k.Queues), kinds: families(), words: map[dimension]*vocabulary{},
		series: map[key]*series{}, known: map[course]*counted{}, pools: map[string][]store.PoolUse{},
	}
	for d, limit := range bounds() {
		t.words[d] = newVocabulary(limit)
	}
	queues := slices.Sorted(maps.Keys(k.Queues))
	t.reserve(byKind, k.Kinds)
	t.reserve(byQueue, queues)
	t.reserve(byTransport, slices.Sorted(maps.Values(k.Queues)))
	t.reserve(byProgram, k.Programs)
	t.reserve(byClass, classes())
	t.begin(k.Kinds, stuckTotal, dirtyTotal)
	t.begin(queues, staleTotal, buriedTotal)
	return t
}

// begin lets counters begin at zero: Prometheus does not see the first step of one that
// begins at one.
func (t *Tally) begin(values []string, families ...int) {
	for _, family := range families {
		for _, v := range values {
			t.of(family, []string{v})
		}
	}
}

func (t *Tally) reserve(d dimension, values []string) {
	for _, v := range values {
		t.words[d].word(v)
	}
}

// Reserve keeps room for kinds that have handlers, before messages of others come.
func (t *Tally) Reserve(kinds ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserve(byKind, kinds)
	t.begin(kinds, stuckTotal, dirtyTotal)
}

// classes are those that Posthorn itself knows; applications may have some of their own.
func classes() []string {
	return []string{
		string(driver.ClassDone), string(driver.ClassFailure), string(driver.ClassReject), string(driver.ClassPanic),
		string(driver.ClassTimeout), string(driver.ClassCrash), string(driver.ClassInterrupted),
		string(driver.ClassSnooze), string(driver.ClassTransient), string(driver.ClassInvalid),
		string(driver.ClassUndecodable), string(driver.ClassUnknownKind), string(driver.ClassLeaseLost),
	}
}

// Observe counts an event; it is a worker's Options.Observe.
func (t *Tally) Observe(e worker.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Dropped > 0 {
		t.add(droppedTotal, float64(e.Dropped))
	}
	if e.Stuck {
		t.add(stuckTotal, 1, e.Delivery.Kind)
		return
	}
	verdict := e.Verdict.String()
	switch {
	case e.Class == driver.ClassLeaseLost:
		verdict = none // nothing was settled
		t.add(staleTotal, 1, e.Delivery.Queue)
	case e.Verdict == driver.Bury:
		t.add(buriedTotal, 1, e.Delivery.Queue)
	}
	c := t.counted(course{queue: e.Delivery.Queue, kind: e.Delivery.Kind, class: e.Class, verdict: verdict})
	c.messages.sum++
	if e.Waited > 0 || e.Duration > 0 {
		if c.wait == nil {
			c.wait = t.of(waitSeconds, []string{e.Delivery.Queue})
		}
		t.put(waitSeconds, c.wait, e.Waited.Seconds())
	}
	if e.Duration > 0 {
		if c.run == nil {
			c.run = t.of(runSeconds, []string{e.Delivery.Kind})
		}
		bucket := t.put(runSeconds, c.run, e.Duration.Seconds())
		if trace, sampled := e.Delivery.TraceID(); sampled {
			c.run.note(bucket, exemplar{Trace: trace, Value: e.Duration.Seconds(), At: time.Now()})
		}
	}
}

// A course is what decides in which series a message is counted. Most messages take one
// that an earlier one took, and finding all series by their labels costs several times as
// much as remembering them.
type course struct {
	queue, kind string
	class       driver.Class
	verdict     string
}

// Counted are the series of a course; the last two from when there is something to count.
type counted struct{ messages, wait, run *series }

// maxCourses bounds the courses that are remembered; the others are found each time.
const maxCourses = 5000

func (t *Tally) counted(k course) *counted {
	if c := t.known[k]; c != nil {
		return c
	}
	c := &counted{messages: t.of(messagesTotal,
		[]string{t.transports[k.queue], k.queue, k.kind, string(k.class), k.verdict})}
	if len(t.known) < maxCourses && len(k.queue)+len(k.kind)+len(k.class) <= maxLabels*maxValue {
		k.queue, k.kind = strings.Clone(k.queue), strings.Clone(k.kind) // they may be a part of something large
		k.class = driver.Class(strings.Clone(string(k.class)))
		t.known[k] = c
	}
	return c
}

// Committed counts a group commit; see store.Meter.
func (t *Tally) Committed(effects int) { t.one(groupEffects, float64(effects)) }

// LeftDirty counts a connection that was destroyed; see store.Meter.
func (t *Tally) LeftDirty(kind string) { t.one(dirtyTotal, 1, kind) }

// Crashed counts messages whose worker has died; see store.Meter.
func (t *Tally) Crashed(messages int) { t.one(crashesTotal, float64(messages)) }

// Restarted counts a process of a program that ended and is replaced.
func (t *Tally) Restarted(program, reason string) { t.one(restartsTotal, 1, program, reason) }

func (t *Tally) one(family int, value float64, labels ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(family, value, labels...)
}

// add adds to a counter, or observes a value in a histogram. The lock is held.
func (t *Tally) add(family int, value float64, labels ...string) {
	s := t.of(family, labels)
	if t.kinds[family].buckets == nil {
		s.sum += value
		return
	}
	t.put(family, s, value)
}

// put observes a value in a histogram, and returns its bucket. The lock is held.
func (t *Tally) put(family int, s *series, value float64) (bucket int) {
	bucket, _ = slices.BinarySearch(t.kinds[family].buckets, value)
	s.count++
	s.sum += value
	s.buckets[bucket]++
	return bucket
}

// of finds the series with these values, or makes it. The lock is held.
func (t *Tally) of(family int, labels []string) *series {
	f := &t.kinds[family]
	k := key{family: family}
	for i, value := range labels {
		k.values[i] = t.words[f.labels[i]].word(value)
	}
	if s := t.series[k]; s != nil {
		return s
	}
	if t.count[family] >= f.limit {
		k = f.crowd(k)
		if s := t.series[k]; s != nil {
			return s
		}
	}
	s := &series{}
	if f.buckets != nil {
		s.buckets = make([]uint64, len(f.buckets)+1)
	}
	t.series[k] = s
	t.count[family]++
	return s
}

// crowd is the series of all that has no place of its own. How it ended is kept.
func (f *family) crowd(k key) key {
	for i, d := range f.labels {
		if d != byClass && d != byVerdict {
			k.values[i] = other
		}
	}
	return k
}

// note keeps the newest exemplar of a bucket.
func (s *series) note(bucket int, e exemplar) {
	if s.exemplars == nil {
		s.exemplars = make([]exemplar, len(s.buckets))
	}
	s.exemplars[bucket] = e
}

// merge adds another series of the same family.
func (s *series) merge(o *series) {
	s.count += o.count
	s.sum += o.sum
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
	for i, e := range o.exemplars {
		if e.Trace != "" {
			s.note(i, e)
		}
	}
}

// Pools takes in how a process uses its connections. The source names the process; what
// it has told before says what is new.
func (t *Tally) Pools(source string, now []store.PoolUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.pools[source]
	for i, p := range now {
		waits, waited := p.Waits, p.Waited
		if i < len(before) && before[i].Name == p.Name {
			waits, waited = waits-before[i].Waits, waited-before[i].Waited
		}
		t.add(poolWaits, float64(max(waits, 0)), p.Name)
		t.add(poolWaitSeconds, max(waited, 0).Seconds(), p.Name)
	}
	t.pools[source] = now
}

// Gone forgets the connections of a process that has ended. What it has counted stays.
func (t *Tally) Gone(source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pools, source)
}
