package cli

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/supervisor"
	"github.com/posthorn/posthorn/worker"
)

// What a worker announces to its supervisor, as fields of sd_notify.
const (
	fieldWorker = "X_POSTHORN_WORKER" // its id
)

// fleetJitter spreads the limits of workers that start together.
const fleetJitter = 0.1

// workCommand is what up runs in each of its processes.
func (s *session) workCommand() *cobra.Command {
	var isolated bool
	cmd := &cobra.Command{
		Use: "work PROGRAM", Short: "Run one worker of a program", Hidden: true,
		Long: `Run one worker as the configuration describes it for a program: the command that up and supervise start in
each of their processes. It announces by sd_notify when it is ready, and ends with exit code 0 at its limits.`,
		Example: s.example(`work messenger-consume`),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.runProgram(cmd.Context(), args[0], isolated)
		},
	}
	cmd.Flags().BoolVar(&isolated, "isolated", false, "handle nothing but suspects, one at a time")
	group(cmd, "What to consume", "isolated")
	return cmd
}

func (s *session) runProgram(ctx context.Context, name string, isolated bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	working, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { s.showLife(working) })
	var record recording
	defer record.close()
	return s.runWorker(ctx, &stint{
		plan: func(cfg *config.Config) (worker.Options, error) {
			p, err := workerProgram(cfg, name)
			if err != nil {
				return worker.Options{}, err
			}
			o := s.programOptions(cfg, p)
			o.Limits.Memory = s.boundMemory(o.Limits.Memory)
			if o.Isolated = isolated; isolated {
				o.Program = isolatedName(p.Name)
			}
			o.Recorder = record.of(s, o.Concurrency)
			o.Joined = func() { s.notify("READY=1") }
			return o, nil
		},
		named: func(id string) { s.notify(fieldWorker + "=" + id) },
		stopped: func(cause error) {
			s.notify("STOPPING=1")
		},
	})
}

// workerProgram finds a program that has workers.
func workerProgram(cfg *config.Config, name string) (config.Program, error) {
	p, err := knownProgram(cfg, name)
	if err == nil && len(p.Command) > 0 {
		err = usage(fmt.Sprintf("program %s is a command", name), "up and supervise run it")
	}
	return p, err
}

func knownProgram(cfg *config.Config, name string) (config.Program, error) {
	if p, ok := cfg.Program(name); ok {
		return p, nil
	}
	var names []string
	for _, p := range cfg.Programs {
		names = append(names, p.Name)
	}
	return config.Program{}, &fault{
		Code: "E-PROGRAM-UNKNOWN", Title: fmt.Sprintf("unknown program `%s`", name), Exit: exitUsage,
		What: "the configuration does not define it",
		Try:  meant(name, names, "the programs are "+strings.Join(names, ", ")),
	}
}

// programOptions are the options of a program's workers.
func (s *session) programOptions(cfg *config.Config, p config.Program) worker.Options {
	o := s.baseOptions(cfg, p.Name)
	o.Concurrency, o.DrainTimeout, o.StuckLimit, o.Lease = p.Concurrency, p.DrainTimeout, p.StuckLimit, p.Lease
	o.Limits = worker.Limits{
		Messages: p.Limits.Messages, Failures: p.Limits.Failures, Time: p.Limits.Time,
		Memory: int64(p.Limits.Memory), Jitter: fleetJitter,
	}
	o.Queues, o.Weights = cfg.Queues(p)
	return o
}

// boundMemory is the memory limit of this worker's process: the one that was asked for,
// or nine tenths of its cgroup's where that is less, or is the only one. So it is
// recycled before the kernel kills it with all that it has in hand. The garbage
// collector works harder a tenth below that; who sets GOMEMLIMIT knows better.
func (s *session) boundMemory(limit int64) int64 {
	if most := cgroupMemory() / 10 * 9; most > 0 && (limit == 0 || most < limit) {
		limit = most
	}
	if _, set := s.lookup("GOMEMLIMIT"); !set && limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
	return limit
}

// notify tells the supervisor of this process, if it has one.
func (s *session) notify(lines ...string) {
	socket, _ := s.lookup("NOTIFY_SOCKET")
	if err := supervisor.Notify(socket, lines...); err != nil && s.env.Log != nil {
		s.env.Log.Warn("the supervisor does not listen", "error", err)
	}
}

// watchdogEvery is how often whoever started this process wants to hear of it:
// half of what WATCHDOG_USEC allows, see sd_watchdog_enabled(3). 0 means never.
func (s *session) watchdogEvery() time.Duration {
	text, _ := s.lookup("WATCHDOG_USEC")
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// showLife tells the supervisor that this process runs.
func (s *session) showLife(ctx context.Context) {
	every := s.watchdogEvery()
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.notify("WATCHDOG=1")
		}
	}
}

// guardCommand is what up runs beside its processes.
func (s *session) guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard", Short: "Kill process groups when their supervisor dies", Hidden: true,
		Long: `Read the ids of process groups from stdin and kill them when it ends: the command that up and supervise
start so that nothing outlives them, however they die.`,
		Example: s.example(`guard`),
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s.sig.ignore()
			return supervisor.Guard(s.io.Stdin)
		},
	}
}
