package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
	"github.com/posthorn/posthorn/supervisor"
)

// errMonitor is the cause of the end of a supervisor whose monitor cannot run.
var errMonitor = errors.New("the monitor has ended")

// watch runs the monitor beside the programs, with each configuration in turn, until
// ctx ends. An error means that it cannot run.
func (f *flagship) watch(ctx context.Context, cfg *config.Config) error {
	for ctx.Err() == nil {
		next, err := f.watchBy(ctx, cfg)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: %w", errMonitor, err)
		}
		cfg = next
	}
	return nil
}

// watchBy runs the monitor by one configuration, if that wants one. It returns the next
// configuration.
func (f *flagship) watchBy(ctx context.Context, cfg *config.Config) (next *config.Config, err error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	if cfg.Monitor.Enabled {
		wg.Go(func() {
			defer stop()
			err = f.s.runMonitor(watching, cfg, f.standing)
		})
	}
	select {
	case next = <-f.renewed:
	case <-watching.Done():
		next = cfg
	}
	stop()
	wg.Wait()
	return next, err
}

// renew gives the monitor another configuration.
func (f *flagship) renew(cfg *config.Config) {
	select {
	case <-f.renewed: // one that was not taken yet
	default:
	}
	f.renewed <- cfg
}

// standing is what the monitor is told of the programs.
func (f *flagship) standing(context.Context) ([]monitor.Program, error) {
	var out []monitor.Program
	at := map[string]int{}
	for _, st := range f.sup.Status() {
		if isIsolated(st.Program) {
			continue
		}
		i, ok := at[st.Program]
		if !ok {
			i = len(out)
			at[st.Program] = i
			out = append(out, monitor.Program{Name: st.Program, Restarts: f.casualties.since(st.Program)})
		}
		out[i].Want++
		if st.Phase == supervisor.PhaseReady {
			out[i].Running++
		}
		if st.LastExit != nil && !st.LastExit.Clean() {
			out[i].LastExit = causeOf(*st.LastExit)
		}
	}
	return out, nil
}

// casualties are the ends of processes that nobody asked for, by program. The zero
// value has none.
type casualties struct {
	mu    sync.Mutex
	times map[string][]time.Time
}

// note counts an end.
func (c *casualties) note(e supervisor.Event) {
	if e.Exit.Clean() || e.Exit.Planned {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = map[string][]time.Time{}
	}
	c.times[e.Program] = append(recent(c.times[e.Program]), time.Now())
}

// since is how many there were lately.
func (c *casualties) since(program string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(recent(c.times[program]))
}

func recent(times []time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool {
		return time.Since(t) > monitor.RestartsWithin
	})
}
