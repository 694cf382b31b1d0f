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
	"github.com/posthorn/posthorn/internal/isolation"
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

// isolated is the program for the suspects of p. Nothing runs until there are some.
func (f *flagship) isolated(p config.Program, generation int) supervisor.Program {
	alone := f.own(p, generation)
	alone.Name, alone.Command = isolatedName(p.Name), f.s.again("work", p.Name, "--isolated")
	alone.Processes = 0
	alone.Backoff, alone.Loop = isolation.Backoff(), isolation.Loop()
	return alone
}

// A quarantine starts a process for the suspects of each program while there are
// some, and ends it when there are none.
type quarantine struct {
	f     *flagship
	poked chan struct{}

	mu       sync.Mutex
	programs []config.Program
	queues   map[string][]string        // by program
	watches  map[string]isolation.Watch // by program
}

func newQuarantine(f *flagship) *quarantine {
	return &quarantine{f: f, poked: make(chan struct{}, 1), watches: map[string]isolation.Watch{}}
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
	ticker := time.NewTicker(isolation.Every)
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
		if err != nil { // the store is away: nothing changes
			continue
		}
		watch, processes := q.watches[name].Step(any, time.Now())
		q.watches[name] = watch
		if err := q.f.sup.Scale(name, processes); err != nil && !errors.Is(err, supervisor.ErrNotRunning) {
			q.f.s.env.Log.Error("no process for suspects", "program", p.Name, "error", err)
		}
	}
}

// any reports whether the program has suspects, waiting or being handled.
func (q *quarantine) any(ctx context.Context, program string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, isolation.Idle)
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
