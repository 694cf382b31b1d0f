package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/monitor"
)

// paper is a Memory of a test.
type paper struct {
	mu      sync.Mutex
	body    []byte
	version int64
	saved   func() error // asked before each Save
}

// Load returns what was saved.
func (p *paper) Load(context.Context) ([]byte, int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.body), p.version, nil
}

// Save compares and swaps.
func (p *paper) Save(_ context.Context, body []byte, version int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved != nil {
		if err := p.saved(); err != nil {
			return err
		}
	}
	if version != p.version {
		return monitor.ErrConflict
	}
	p.body, p.version = body, version+1
	return nil
}

// hands are the Actions of a test: they write down what they are asked to do.
type hands struct {
	mu   sync.Mutex
	done []string
	fail error
}

func (h *hands) note(what, target, why string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if why == "" {
		return errors.New("no reason is given")
	}
	h.done = append(h.done, what+" "+target)
	return h.fail
}

// RestartWorker notes it.
func (h *hands) RestartWorker(_ context.Context, id, why string) error {
	return h.note("restart", id, why)
}

// RollingRestart notes it.
func (h *hands) RollingRestart(_ context.Context, program, why string) error {
	return h.note("roll", program, why)
}

// PauseQueue notes it.
func (h *hands) PauseQueue(_ context.Context, queue, why string, _ time.Duration) error {
	return h.note("pause", queue, why)
}

// A watch is a monitor on readings of a test.
type watch struct {
	*monitor.Monitor
	hands   *hands
	log     *strings.Builder
	reading monitor.Reading
}

func newWatch(memory monitor.Memory, rules ...monitor.Rule) *watch {
	w := &watch{hands: &hands{}, log: &strings.Builder{}}
	w.Monitor = monitor.New(func(context.Context) monitor.Reading { return w.reading }, monitor.Options{
		Memory: memory, Actions: w.hands, Engine: monitor.Engine{Rules: rules},
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	return w
}

// rules are the pack with an action for one of its rules.
func rules(name string, action monitor.ActionKind) []monitor.Rule {
	pack := monitor.Pack()
	for i := range pack {
		if pack[i].Name == name {
			pack[i].Action = action
		}
	}
	return pack
}

// bloated makes workers take more memory than they may.
func bloated(r *monitor.Reading, workers ...string) {
	for i := range r.Workers.Value {
		if w := &r.Workers.Value[i]; slices.Contains(workers, w.ID) {
			w.RSS = 600 << 20
		}
	}
}

// see makes the rounds of a while, each half minute.
func (w *watch) see(t *testing.T, from time.Time, d time.Duration, scene func(*monitor.Reading)) time.Time {
	t.Helper()
	for at := from; ; at = at.Add(30 * time.Second) {
		if at.Sub(from) >= d {
			return at
		}
		w.reading = healthy(at)
		scene(&w.reading)
		w.Once(t.Context())
	}
}

func TestACriticalConditionLeadsToItsActionWithTheReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule   string
		action monitor.ActionKind
		want   string
	}{
		{monitor.RuleMemory, monitor.RestartWorker, "restart w2"},
		{monitor.RuleMemory, monitor.RollingRestart, "roll shop"},
		{monitor.RuleMemory, monitor.NoAction, ""},
		{monitor.RuleFailureRate, monitor.PauseQueue, "pause mail"},
		{monitor.RuleFailureRate, monitor.NoAction, ""},
	} {
		w := newWatch(&paper{}, rules(c.rule, c.action)...)
		w.see(t, noon, 9*time.Minute, func(r *monitor.Reading) {
			if c.rule == monitor.RuleMemory {
				bloated(r, "w2")
				return
			}
			occupy(r, func(w *monitor.Worker) { w.Failed, w.Queues = w.Handled, []string{"mail"} })
			queue(r, "slow").Transport = ""
		})
		if got := strings.Join(w.hands.done, ","); got != c.want {
			t.Errorf("%s, %s: done is %q, want %q", c.rule, c.action, got, c.want)
		}
		if logged := strings.Contains(w.log.String(), "monitor acts"); logged != (c.want != "") {
			t.Errorf("%s, %s: the log says\n%s", c.rule, c.action, w.log)
		}
	}
}

func TestTheDefaultsActOnlyWhereItIsSafe(t *testing.T) {
	t.Parallel()
	for _, rule := range monitor.Pack() {
		if rule.Action != "" && rule.Action != monitor.NoAction && rule.Action != monitor.RestartWorker {
			t.Errorf("%s does %s by default", rule.Name, rule.Action)
		}
		if rule.Action != "" && !slices.Contains(rule.Actions, rule.Action) {
			t.Errorf("%s cannot be told to do what it does", rule.Name)
		}
	}
}

func TestWhenTheBudgetIsUsedUpItAlertsInstead(t *testing.T) {
	t.Parallel()
	w := newWatch(&paper{}, monitor.Pack()...)
	at := w.see(t, noon, 50*time.Minute, func(r *monitor.Reading) { bloated(r, "w2") })
	if got := strings.Join(w.hands.done, ","); got != "restart w2,restart w2" {
		t.Errorf("for one subject: done is %q", got)
	}
	open := w.Verdict().Conditions
	i := slices.IndexFunc(open, func(c monitor.Condition) bool { return c.Name == monitor.RuleBudget })
	if i < 0 || open[i].Level != monitor.Critical || open[i].Subject != "w2" || open[i].Try == "" {
		t.Fatalf("nobody is told that the budget is used up: %+v", open)
	}
	if n := strings.Count(w.log.String(), "condition="+monitor.RuleBudget+" "); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	w.see(t, at, 30*time.Minute, well)
	if open := w.Verdict().Conditions; len(open) > 0 {
		t.Errorf("it does not resolve: %+v", open)
	}
}

// Two queues stand still, and it is the same worker's fault.
func TestAUsedUpBudgetIsOneConditionForATarget(t *testing.T) {
	t.Parallel()
	film := newFilm(t)
	film.engine.Budget = monitor.Budget{PerSubject: 1, Again: time.Minute}
	film.play(45*time.Minute, func(r *monitor.Reading) {
		for i := range r.Queues.Value {
			r.Queues.Value[i].Ready, r.Queues.Value[i].Oldest = 1, 5*time.Hour+r.At.Sub(noon)
		}
	})
	var told, open []string
	for _, c := range film.changes {
		if c.Name == monitor.RuleBudget {
			told = append(told, c.Subject+" from "+c.From.String())
		}
	}
	for _, c := range film.state.Conditions() {
		if c.Name != monitor.RuleBudget {
			continue
		}
		open = append(open, c.Subject)
		if !strings.Contains(c.Text, "mail") || !strings.Contains(c.Text, "slow") {
			t.Errorf("it does not say why: %s", c.Text)
		}
	}
	if !slices.Equal(told, []string{"w1 from ok"}) || !slices.Equal(open, []string{"w1"}) {
		t.Errorf("told %q, open %q: %s", told, open, path(film.changes))
	}
}

func TestTheBudgetOfAnHourIsForAllSubjects(t *testing.T) {
	t.Parallel()
	w := newWatch(&paper{}, monitor.Pack()...)
	w.see(t, noon, 20*time.Minute, func(r *monitor.Reading) {
		sick := r.Workers.Value[0]
		for i := range 20 {
			sick.ID, sick.RSS = fmt.Sprint("x", i), 600<<20
			r.Workers.Value = append(r.Workers.Value, sick)
		}
	})
	if len(w.hands.done) != 6 {
		t.Errorf("done is %q", w.hands.done)
	}
}

func TestOfSeveralMonitorsOneActs(t *testing.T) {
	t.Parallel()
	memory := &paper{}
	var watches []*watch
	for i := range 4 {
		w := newWatch(memory, monitor.Pack()...)
		watches = append(watches, w)
		w.reading.Host = fmt.Sprint("host", i)
	}
	for at := noon; at.Before(noon.Add(9 * time.Minute)); at = at.Add(30 * time.Second) {
		var wg sync.WaitGroup
		for i, w := range watches {
			w.reading = healthy(at)
			w.reading.Host = fmt.Sprint("host", i)
			bloated(&w.reading, "w2")
			wg.Go(func() { w.Once(t.Context()) })
		}
		wg.Wait()
	}
	var done []string
	told := 0
	for _, w := range watches {
		done = append(done, w.hands.done...)
		told += strings.Count(w.log.String(), "condition changed")
	}
	if len(done) != 1 {
		t.Errorf("done is %q, want it once", done)
	}
	if told < 1 || told > 2 { // a warning may come first
		t.Errorf("the condition was told %d times", told)
	}
}

func TestACrashBetweenIntentAndActRepeatsNothingForLong(t *testing.T) {
	t.Parallel()
	memory := &paper{}
	at, acted := noon, 0
	for range 100 { // each round is a process that dies as soon as it begins to act
		w := newWatch(memory, monitor.Pack()...)
		w.hands.fail = errors.New("killed")
		w.reading = healthy(at)
		w.reading.Elapsed = 0
		bloated(&w.reading, "w2")
		memory.saved = func() error {
			if len(w.hands.done) > 0 {
				return errors.New("killed")
			}
			return nil
		}
		w.Once(t.Context())
		acted += len(w.hands.done)
		at = at.Add(30 * time.Second)
	}
	if acted != 2 {
		t.Errorf("in 50 minutes it acted %d times, want 2", acted)
	}
}

func TestWithoutAMemoryNothingIsDone(t *testing.T) {
	t.Parallel()
	broken := &paper{saved: func() error { return errors.New("disk full") }}
	for name, memory := range map[string]monitor.Memory{"none": nil, "broken": broken} {
		w := newWatch(memory, monitor.Pack()...)
		w.see(t, noon, 10*time.Minute, func(r *monitor.Reading) { bloated(r, "w2") })
		if len(w.hands.done) > 0 {
			t.Errorf("%s: done is %q", name, w.hands.done)
		}
		if l := w.Verdict().Level; l != monitor.Critical {
			t.Errorf("%s: it does not even judge: %s", name, l)
		}
	}
}

func TestAnOutageIsToldOnceThoughTheMemoryIsAwayWithTheStore(t *testing.T) {
	t.Parallel()
	memory := &paper{}
	w, other := newWatch(memory, monitor.Pack()...), newWatch(memory, monitor.Pack()...)
	w.see(t, noon, 2*time.Minute, well)
	at := w.see(t, noon.Add(2*time.Minute), 5*time.Minute, func(r *monitor.Reading) {
		faults()[monitor.RuleStore].cause(r, 0)
		other.reading = healthy(r.At.Add(time.Second)) // which reaches the store
		other.reading.Host = "b"
		other.Once(t.Context())
	})
	w.see(t, at, 5*time.Minute, well)
	if n := strings.Count(w.log.String(), "condition=store"); n != 2 || len(w.Verdict().Conditions) > 0 {
		t.Errorf("it was told %d times, and open are %+v", n, w.Verdict().Conditions)
	}
}

func TestOnceFromCronRemembers(t *testing.T) {
	t.Parallel()
	memory := &paper{}
	var log strings.Builder
	for i := range 8 {
		w := newWatch(memory, monitor.Pack()...) // a new process
		w.reading = healthy(noon.Add(time.Duration(i) * time.Minute))
		w.reading.Elapsed = 0
		w.reading.Server.Value.Used = 99
		w.Once(t.Context())
		log.WriteString(w.log.String())
	}
	if n := strings.Count(log.String(), "condition=connections"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, &log)
	}
}

func TestARoundThatAnotherMonitorOvertookIsMadeAgain(t *testing.T) {
	t.Parallel()
	memory, conflicts := &paper{}, 0
	memory.saved = func() error {
		if conflicts++; conflicts%2 == 1 {
			return monitor.ErrConflict
		}
		return nil
	}
	w := newWatch(memory, monitor.Pack()...)
	w.see(t, noon, 9*time.Minute, func(r *monitor.Reading) {
		bloated(r, "w2")
		if r.At.After(noon) && !w.Remembers() {
			t.Fatal("after one conflict it goes on alone")
		}
	})
	if got := strings.Join(w.hands.done, ","); got != "restart w2" {
		t.Errorf("done is %q", got)
	}
}

func TestEachRoundIsShownWithItsPlaceAmongAll(t *testing.T) {
	t.Parallel()
	memory := &paper{}
	var rounds []monitor.Round
	r := healthy(noon)
	m := monitor.New(func(context.Context) monitor.Reading { return r }, monitor.Options{
		Memory: memory, Observe: func(r monitor.Round) { rounds = append(rounds, r) },
	})
	m.Once(t.Context())
	memory.version += 3 // other monitors
	m.Once(t.Context())
	memory.saved = func() error { return errors.New("disk full") }
	m.Once(t.Context())
	faults()[monitor.RuleStore].cause(&r, 0)
	m.Once(t.Context())
	for i, want := range []monitor.Round{{Revision: 1}, {Revision: 5}, {}, {Away: true}} {
		if got := rounds[i]; got.Revision != want.Revision || got.Away != want.Away || got.Host != "a" || got.At != r.At {
			t.Errorf("round %d is %+v", i, got)
		}
	}
}
