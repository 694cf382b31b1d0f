package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// patience bounds one run, so that a system that hangs ends with an error, and
// longPatience one of the works on millions of messages.
const (
	patience     = 3 * time.Minute
	longPatience = 15 * time.Minute
)

// A figure is one number that a work yields.
type figure struct {
	Key   string `json:"key"`
	Title string `json:"title"` // in tables
	Unit  unit   `json:"unit"`
}

// A work is one kind of measurement.
type work struct {
	name    string // for -only, and in JSON
	figures []figure
	of      []string // the systems that take part; nil: all
	once    bool     // takes long and varies little: the first round only
	large   bool     // takes long: in a quick run, Posthorn's turn only
	twin    bool     // runs the code of another work: not in a quick run
	asked   bool     // takes long: only in a full run, or when it is asked for
	linux   bool     // needs /proc
	run     func(ctx context.Context, r *rig, s system) (map[string]float64, error)
	raw     rawRun // the limit of the machine, or nil
	// patience bounds a run; 0 means the usual one.
	patience time.Duration
}

// takes reports whether a system takes part.
func (w work) takes(s system) bool {
	return s.offers(w.name) && (w.of == nil || slices.Contains(w.of, s.System))
}

// A sizes is how long and how large the runs are.
type sizes struct {
	rounds  int
	spell   time.Duration // of a run bound by time
	scale   float64       // of a backlog
	latency time.Duration // of sending at a steady rate
	settle  time.Duration // of a worker process, before it counts as idle
	idle    time.Duration
	depths  []int // of backlogs that wait behind what is handled
	flow    int   // messages that go through while a snapshot is held
	mode    string
}

// usualSizes make about five minutes.
func usualSizes() sizes {
	return sizes{
		rounds: 1, spell: time.Second / 2, scale: 0.5, latency: 2 * time.Second, settle: time.Second / 2,
		idle: 2 * time.Second, depths: []int{1000, 10_000, 100_000}, flow: 50_000, mode: modeUsual,
	}
}

// fullSizes make about 25 minutes.
func fullSizes() sizes {
	return sizes{
		rounds: 3, spell: time.Second / 2, scale: 0.5, latency: 5 * time.Second, settle: time.Second,
		idle: 10 * time.Second, depths: []int{10_000, 100_000, 1_000_000}, flow: 1_000_000, mode: modeFull,
	}
}

// warming is how long callers send before it counts: until then pools open
// their connections.
func (s sizes) warming() time.Duration { return s.spell / 5 }

// quickSizes show that everything works; the figures mean nothing.
func quickSizes() sizes {
	return sizes{
		rounds: 1, spell: 20 * time.Millisecond, scale: 0.01, latency: 100 * time.Millisecond,
		settle: 50 * time.Millisecond, idle: 100 * time.Millisecond,
		depths: []int{100, 1000}, flow: 2000, mode: modeQuick,
	}
}

// A rig runs works on systems, each run on a database of its own.
type rig struct {
	sizes
	dir     string
	works   []work
	kinds   []kind
	systems []system
	rawToo  bool
	sites   []*site      // of the kinds, while the rig is open
	skipped []string     // kinds that could not be opened, and why
	failed  []error      // runs
	told    io.Writer    // progress
	emit    func(result) // each run, as it ends
}

// A result is one run of one work on one subject.
type result struct {
	Round int    `json:"round"`
	Work  string `json:"work"`
	subject
	Figures map[string]float64 `json:"figures"`
}

// open makes the hosts ready.
func (r *rig) open(ctx context.Context) error {
	for _, k := range r.kinds {
		s, err := k.open(ctx, r.dir)
		if k.optional && errors.Is(err, errNotInstalled) {
			r.skip(err)
			continue
		}
		if err != nil {
			return errors.Join(err, r.close())
		}
		r.sites = append(r.sites, s)
	}
	return nil
}

// skip leaves a kind of store out.
func (r *rig) skip(why error) {
	r.skipped = append(r.skipped, fmt.Sprintf("Not measured: %v", why))
	fmt.Fprintln(r.told, r.skipped[len(r.skipped)-1])
}

// close ends the hosts and removes all that the rig has made.
func (r *rig) close() error {
	var err error
	for _, s := range r.sites {
		err = errors.Join(err, s.close())
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// on lists the systems of a kind of store.
func (r *rig) on(k kind) []system {
	return slices.DeleteFunc(slices.Clone(r.systems), func(s system) bool { return s.Store != k.name })
}

// siteOf is where a system is measured.
func (r *rig) siteOf(s system) *site {
	return r.sites[slices.IndexFunc(r.sites, func(t *site) bool { return t.name == s.Store })]
}

// all runs every work on every system, round by round. Within a round the
// systems of a store alternate on each work, and each round begins with another
// one, so that a change of the machine's mood meets all of them.
func (r *rig) all(ctx context.Context) error {
	for round := range r.rounds {
		for _, w := range r.works {
			if w.once && round > 0 {
				continue
			}
			for _, s := range r.sites {
				if err := r.round(ctx, round, w, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// round does one work on the systems of one store.
func (r *rig) round(ctx context.Context, round int, w work, at *site) error {
	systems := r.on(at.kind)
	for i := range systems {
		s := systems[(i+round)%len(systems)]
		if !w.takes(s) || r.mode == modeQuick && w.large && s.System != ours {
			continue
		}
		err := r.one(ctx, w, result{Round: round + 1, Work: w.name, subject: s.subject},
			func(ctx context.Context) (map[string]float64, error) { return w.run(ctx, r, s) })
		if err != nil {
			return err
		}
	}
	if w.raw == nil || at.bare == nil || !r.rawToo {
		return nil
	}
	return r.one(ctx, w, result{Round: round + 1, Work: w.name, subject: subject{at.name, rawName}},
		func(ctx context.Context) (map[string]float64, error) { return w.raw(ctx, r, at) })
}

// one does one run and emits its result. A run that fails is noted, and does not
// take the others' figures with it.
func (r *rig) one(
	ctx context.Context, w work, res result, run func(context.Context) (map[string]float64, error),
) (err error) {
	runtime.GC() // of what the run before left
	running, cancel := context.WithTimeout(ctx, cmp.Or(w.patience, patience))
	defer cancel()
	if res.Figures, err = run(running); err != nil {
		err = fmt.Errorf("measure %s of %s on %s: %w", res.Work, res.System, res.Store, err)
		fmt.Fprintln(r.told, err)
		r.failed = append(r.failed, err)
		return ctx.Err()
	}
	fmt.Fprintf(r.told, "round %d/%d  %-16s %-9s %-16s %s\n",
		res.Round, r.rounds, res.Work, res.Store, res.System, short(res.Figures))
	r.emit(res)
	return nil
}

// with runs fn on a freshly opened system.
func (r *rig) with(ctx context.Context, s system, l load, fn func(b bus, address string) error) error {
	at := r.siteOf(s)
	address, err := at.fresh(ctx)
	if err != nil {
		return err
	}
	b, err := s.open(ctx, address, l)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = at.check(ctx, address, b.db())
	if err == nil && l.insert {
		_, err = b.db().ExecContext(ctx, effectTable)
	}
	if err == nil {
		err = fn(b, address)
	}
	return at.leave(ctx, address, err, b.close)
}

// backlog is how many messages a system is given to handle.
func (r *rig) backlog(s system, l load) int {
	n := s.backlog
	if l.insert && s.backlogTx > 0 {
		n = s.backlogTx
	}
	if l.alone {
		n /= 10
	}
	return max(int(float64(n)*r.scale), 10)
}
