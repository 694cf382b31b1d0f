package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/tap"
)

// ErrConflict is what Memory.Save returns when somebody else has saved since
// Load.
var ErrConflict = errors.New("monitor's document was changed by somebody else")

// A Memory is a small document that outlives the process, and that all monitors
// of a store share.
type Memory interface {
	// Load returns the document with its version; nothing was saved yet: nil.
	Load(ctx context.Context) (body []byte, version int64, err error)
	// Save writes the document if it still has the version that Load gave, else
	// it returns ErrConflict.
	Save(ctx context.Context, body []byte, version int64) error
}

// Actions are what a monitor can do about conditions. why is for logs and for
// whoever asks later.
type Actions interface {
	RestartWorker(ctx context.Context, worker, why string) error
	RollingRestart(ctx context.Context, program, why string) error
	PauseQueue(ctx context.Context, queue, why string, pause time.Duration) error
}

// Options are the settings of a Monitor. Zero fields have documented defaults.
type Options struct {
	Every   time.Duration // between two readings; 0 means 30 s
	Engine  Engine        // no rules: the default pack
	Memory  Memory        // nil: nothing outlives the process, and nothing is acted on
	Actions Actions       // nil: nothing is acted on
	Log     *slog.Logger  // nil means silence

	// Observe is told of each round before anything is acted on; nil: nobody is. It must not
	// block.
	Observe func(Round)
}

// A Round is a verdict with what tells its place among those of all monitors.
type Round struct {
	Verdict
	Host string
	// Revision grows from one verdict that all monitors share to the next. It is 0 where this
	// monitor went on alone: then what it says of anything but its host may be old.
	Revision int64
	Away     bool // the store was not reachable
}

// DefaultEvery is how often a monitor reads.
const DefaultEvery = 30 * time.Second

// memoryWithin bounds the way to the memory in one round, and one action.
const memoryWithin = 5 * time.Second

// tries is how often a round begins anew because another monitor was faster.
const tries = 5

// A Monitor reads, judges and acts. Run and Once are for one goroutine;
// Verdict may be called concurrently.
type Monitor struct {
	gather func(ctx context.Context) Reading
	opts   Options
	state  State // after the last round
	apart  bool  // the last round was not remembered

	revision int64 // of the document that holds the state

	mu      sync.Mutex
	verdict Verdict
	rounds  int
	at      time.Time // of the last round, by a clock that never jumps
}

// New makes a monitor of a source of readings, like Gatherer.Gather.
func New(gather func(ctx context.Context) Reading, o Options) *Monitor {
	o.Every = cmp.Or(o.Every, DefaultEvery)
	if o.Engine.Rules == nil {
		o.Engine.Rules = Pack()
	}
	o.Log = tap.Logger(o.Log)
	if o.Memory == nil || o.Actions == nil {
		o.Engine.Budget.Off = true
	}
	return &Monitor{gather: gather, opts: o}
}

// Run judges again and again until ctx ends. It returns nil then.
func (m *Monitor) Run(ctx context.Context) error {
	ticker := time.NewTicker(m.opts.Every)
	defer ticker.Stop()
	for {
		m.Once(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Once makes one round: read, judge, remember, act. What it decided to do is
// written down before it is done, and by one monitor of all only.
func (m *Monitor) Once(ctx context.Context) Verdict {
	r := m.gather(ctx)
	o, kept := m.remember(ctx, r)
	if !kept {
		o = m.alone(r)
	}
	m.state, m.apart = o.state, !kept
	m.publish(o.state.Verdict())
	for _, c := range o.changes {
		m.tell(ctx, c)
	}
	m.observe(r)
	if len(o.todo) > 0 {
		m.act(ctx, o.todo)
	}
	return m.Verdict()
}

// observe shows a round to whoever wants to see it.
func (m *Monitor) observe(r Reading) {
	if m.opts.Observe == nil {
		return
	}
	round := Round{Verdict: m.Verdict(), Host: r.Host, Revision: m.revision, Away: r.away()}
	if m.apart {
		round.Revision = 0
	}
	m.opts.Observe(round)
}

// An outcome is what came of one step.
type outcome struct {
	state   State
	changes []Transition
	todo    []Action // intents of this step
}

// step steps a state.
func step(e Engine, s State, r Reading) outcome {
	next, changes := e.Step(s, r)
	return outcome{state: next, changes: changes, todo: slices.Clone(next.Ledger[len(aged(s.Ledger, r.At)):])}
}

// remember steps the state that all monitors share, unless it cannot be read or
// written.
func (m *Monitor) remember(ctx context.Context, r Reading) (o outcome, kept bool) {
	if m.opts.Memory == nil || r.away() {
		return o, false
	}
	var err error
	for range tries {
		var (
			state   State
			version int64
		)
		if state, version, err = m.load(ctx, r.Host); err == nil {
			o = step(m.opts.Engine, state, r)
			err = m.save(ctx, o.state, version)
			m.revision = version + 1 // of use only if it was saved
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil && !m.apart {
		m.opts.Log.Warn("monitor cannot remember: it goes on alone, and does not act", "error", err)
	}
	return o, err == nil
}

// alone steps what this monitor knows itself. Nothing is acted on: an intent
// could not be written down.
func (m *Monitor) alone(r Reading) outcome {
	e := m.opts.Engine
	e.Budget.Off = true
	return step(e, m.state, r)
}

// load reads the shared state. What this host found about itself while the
// memory was away is not known there, and is kept.
func (m *Monitor) load(ctx context.Context, host string) (State, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, memoryWithin)
	defer cancel()
	body, version, err := m.opts.Memory.Load(ctx)
	if err != nil {
		return State{}, 0, fmt.Errorf("load monitor's document: %w", err)
	}
	state, err := Decode(body)
	if err != nil {
		return State{}, 0, err
	}
	if m.apart {
		state = state.adopt(m.state, host)
	}
	return state, version, nil
}

// adopt takes over what another state says about a host.
func (s State) adopt(own State, host string) State {
	mine := func(t Track) bool { return t.Host == host }
	s.Tracks = slices.DeleteFunc(slices.Clone(s.Tracks), mine)
	s.Tracks = append(s.Tracks, slices.DeleteFunc(slices.Clone(own.Tracks), func(t Track) bool { return !mine(t) })...)
	return s
}

func (m *Monitor) save(ctx context.Context, s State, version int64) error {
	body, err := s.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, memoryWithin)
	defer cancel()
	if err := m.opts.Memory.Save(ctx, body, version); err != nil {
		return fmt.Errorf("save monitor's document: %w", err)
	}
	return nil
}

// tell logs a change of what is told.
func (m *Monitor) tell(ctx context.Context, c Transition) {
	level := slog.LevelInfo
	switch c.Level {
	case Critical:
		level = slog.LevelError
	case Warning, Unknown:
		level = slog.LevelWarn
	}
	m.opts.Log.Log(ctx, level, "condition changed", "condition", c.Name, "subject", c.Subject, "level", c.Level.String(),
		"was", c.From.String(), "finding", c.Text, "since", c.Since, "value", c.Value, "threshold", c.Threshold)
}

// publish shows the verdict of a round.
func (m *Monitor) publish(v Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verdict, m.at = v, time.Now()
	m.rounds++
}

// Verdict is that of the last round; before the first its level is Unknown.
func (m *Monitor) Verdict() Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rounds == 0 {
		return Verdict{Level: Unknown, Conditions: []Condition{}}
	}
	return m.verdict
}

// Beats reports whether rounds are made: the last one is not much older than
// their distance.
func (m *Monitor) Beats() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rounds > 0 && time.Since(m.at) < 3*m.opts.Every+time.Minute
}

// Remembers reports whether the last round went by what all monitors remember,
// and was remembered itself.
func (m *Monitor) Remembers() bool { return !m.apart }
