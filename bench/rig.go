package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// patience bounds one run, so that a system that hangs ends with an error.
const patience = 3 * time.Minute

// A figure is one number that a work yields.
type figure struct {
	key   string // in JSON
	title string // in tables
	unit  unit
}

// A work is one kind of measurement.
type work struct {
	name    string // for -only, and in JSON
	figures []figure
	once    bool // takes long and varies little: the first round only
	linux   bool // needs /proc
	run     func(ctx context.Context, r *rig, s system) (map[string]float64, error)
	raw     func(ctx context.Context, r *rig) (map[string]float64, error) // the limit of the machine, or nil
}

// A sizes is how long and how large the runs are.
type sizes struct {
	rounds  int
	spell   time.Duration // of a run bound by time
	scale   float64       // of a backlog
	latency time.Duration // of sending at a steady rate
	idle    time.Duration
}

// fullSizes make three to five minutes together.
func fullSizes() sizes {
	return sizes{rounds: 3, spell: time.Second, scale: 1, latency: 5 * time.Second, idle: 10 * time.Second}
}

// quickSizes show that everything works; the figures mean nothing.
func quickSizes() sizes {
	return sizes{
		rounds: 1, spell: 50 * time.Millisecond, scale: 0.02, latency: 300 * time.Millisecond,
		idle: 200 * time.Millisecond,
	}
}

// A rig runs works on systems, each run in a directory of its own.
type rig struct {
	sizes
	dir     string
	works   []work
	systems []system
	rawToo  bool
	told    io.Writer    // progress
	emit    func(result) // each run, as it ends
}

// A result is one run of one work on one system.
type result struct {
	Round   int                `json:"round"`
	Work    string             `json:"work"`
	System  string             `json:"system"` // or "raw"
	Figures map[string]float64 `json:"figures"`
}

// rawName is the system name of the machine's own limits.
const rawName = "raw"

// all runs every work on every system, round by round. Within a round the
// systems alternate on each work, and each round begins with another system,
// so that a change of the machine's mood meets all of them.
func (r *rig) all(ctx context.Context) error {
	for round := range r.rounds {
		for _, w := range r.works {
			if w.once && round > 0 {
				continue
			}
			if err := r.round(ctx, round, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rig) round(ctx context.Context, round int, w work) error {
	for i := range r.systems {
		s := r.systems[(i+round)%len(r.systems)]
		if !s.offers(w.name) {
			continue
		}
		err := r.one(ctx, result{Round: round + 1, Work: w.name, System: s.name},
			func(ctx context.Context) (map[string]float64, error) { return w.run(ctx, r, s) })
		if err != nil {
			return err
		}
	}
	if w.raw == nil || !r.rawToo {
		return nil
	}
	return r.one(ctx, result{Round: round + 1, Work: w.name, System: rawName},
		func(ctx context.Context) (map[string]float64, error) { return w.raw(ctx, r) })
}

// one does one run and emits its result.
func (r *rig) one(
	ctx context.Context, res result, run func(context.Context) (map[string]float64, error),
) (err error) {
	runtime.GC() // of what the run before left
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if res.Figures, err = run(ctx); err != nil {
		return fmt.Errorf("measure %s of %s: %w", res.Work, res.System, err)
	}
	fmt.Fprintf(r.told, "round %d/%d  %-16s %-9s %s\n", res.Round, r.rounds, res.Work, res.System, short(res.Figures))
	r.emit(res)
	return nil
}

// file is the path of a fresh database, and what removes it.
func (r *rig) file() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "bench.db"), func() { _ = os.RemoveAll(dir) }, nil
}

// with runs fn on a freshly opened system.
func (r *rig) with(ctx context.Context, s system, l load, fn func(b bus, path string) error) error {
	path, remove, err := r.file()
	if err != nil {
		return err
	}
	defer remove()
	b, err := s.open(ctx, path, l)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := fn(b, path); err != nil {
		_ = b.close() // the first error tells more
		return err
	}
	return b.close()
}

// backlog is how many messages a system is given to handle.
func (r *rig) backlog(s system) int { return max(int(float64(s.backlog)*r.scale), 10) }
