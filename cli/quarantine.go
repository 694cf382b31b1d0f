package cli

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/supervisor"
)

// isolatedSuffix ends the name of the program whose one process handles the suspects of
// another.
const isolatedSuffix = ".isolated"

// maxProgram bounds the name of a supervised program.
const maxProgram = 64

func isolatedName(program string) string {
	return program[:min(len(program), maxProgram-len(isolatedSuffix))] + isolatedSuffix
}

func isIsolated(program string) bool { return strings.HasSuffix(program, isolatedSuffix) }

// isolated is the program for the suspects of p. Nothing runs until there are some. Its
// process is there to die, so it is started again soon.
func (f *flagship) isolated(p config.Program, generation int) supervisor.Program {
	alone := f.own(p, generation)
	alone.Name, alone.Command = isolatedName(p.Name), f.s.again("work", p.Name, "--isolated")
	alone.Processes = 0
	alone.Backoff = supervisor.Backoff{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond, Healthy: time.Second}
	alone.Loop = supervisor.Loop{Failures: 100, Within: time.Minute}
	return alone
}

const (
	// suspectsEvery is how often a supervisor looks for suspects that it did not make:
	// those of other hosts.
	suspectsEvery = time.Second
	// suspectsIdle is after how long without suspects their process ends.
	suspectsIdle = 5 * time.Second
)

// A quarantine starts a process for the suspects of each program while there are
// some, and ends it when there are none.
type quarantine struct {
	f     *flagship
	poked chan struct{}

	mu       sync.Mutex
	programs []config.Program
	queues   map[string][]string  // by program
	busy     map[string]time.Time // by program: when there were suspects last
}

func newQuarantine(f *flagship) *quarantine {
	return &quarantine{f: f, poked: make(chan struct{}, 1), busy: map[string]time.Time{}}
}

// follow makes it follow a configuration.
func (q *quarantine) follow(cfg *config.Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.programs, q.queues = nil, map[string][]string{}
	for _, p := range cfg.Programs {
		if q.f.runs(p) && len(p.Command) == 0 {
			q.programs = append(q.programs, p)
			q.queues[p.Name], _ = cfg.Queues(p)
		}
	}
}

// poke says that there are suspects.
func (q *quarantine) poke() {
	select {
	case q.poked <- struct{}{}:
	default:
	}
}

// run looks after the suspects until ctx ends.
func (q *quarantine) run(ctx context.Context) {
	ticker := time.NewTicker(suspectsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-q.poked:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		q.look(ctx)
	}
}

// look starts and ends processes as there are suspects.
func (q *quarantine) look(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.programs {
		name := isolatedName(p.Name)
		any, err := q.any(ctx, p.Name)
		switch {
		case err != nil: // the store is away: nothing changes
			continue
		case any:
			q.busy[name] = time.Now()
		}
		processes := 0
		if time.Since(q.busy[name]) < suspectsIdle {
			processes = 1
		}
		if err := q.f.sup.Scale(name, processes); err != nil && !errors.Is(err, supervisor.ErrNotRunning) {
			q.f.s.env.Log.Error("no process for suspects", "program", p.Name, "error", err)
		}
	}
}

// any reports whether the program has suspects, waiting or being handled.
func (q *quarantine) any(ctx context.Context, program string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, suspectsIdle)
	defer cancel()
	n, err := q.f.s.env.Store.Suspects(ctx, q.queues[program])
	if n > 0 || err != nil {
		return n > 0, err
	}
	for _, st := range q.f.sup.Status() {
		if st.Program != isolatedName(program) || st.PID == 0 {
			continue
		}
		rec, err := flight.Read(flightFile(q.f.flights, st.PID))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, flight.ErrNoRecord) {
			return false, nil // it has only begun
		}
		return err != nil || len(rec.Running) > 0, nil
	}
	return false, nil
}
