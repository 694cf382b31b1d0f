package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/supervisor"
)

// workerWatchdog is how long a worker may give no sign of life: a process whose
// runtime cannot run a timer for so long does nothing else either.
const workerWatchdog = time.Minute

func (s *session) upCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Run everything: the processes of every program",
		Long: `Run the processes of every program of the configuration, and keep them running: a process that ends is
replaced, at once when it has reached a limit, else after a wait that grows. What a dead worker held is released first.
The first SIGTERM, SIGINT or SIGQUIT stops gracefully, the second cancels the handlers. SIGHUP reads the configuration
again and replaces the workers one after the other; a bad configuration is refused.`,
		Example: s.example(`
			up
			up --config /etc/shop/posthorn.yaml
			up --log-format json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.supervise(cmd.Context(), nil, true) },
	}
}

func (s *session) superviseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "supervise [PROGRAM...]", Short: "Run the processes of some programs",
		Long: `Run the processes of the named programs, or of all, and nothing else: as up does it, for a host that is to run
a part of the configuration.`,
		Example: s.example(`
			supervise
			supervise mailers`),
		RunE: func(cmd *cobra.Command, args []string) error { return s.supervise(cmd.Context(), args, false) },
	}
}

// A flagship supervises the processes of the configuration.
type flagship struct {
	s          *session
	only       []string // programs; none means all
	sup        *supervisor.Supervisor
	flights    string // the directory of the workers' flight records
	view       *sight
	quarantine *quarantine
	casualties casualties
	renewed    chan *config.Config // for the monitor

	mu       sync.Mutex
	believed map[string]bool // the programs whose processes are our workers: only they can say what they held
}

// runs reports whether a program is among those that it supervises.
func (f *flagship) runs(p config.Program) bool {
	return len(f.only) == 0 || slices.Contains(f.only, p.Name)
}

// variables are what its workers find in their environment, beside its own.
func (f *flagship) variables(generation int) []string {
	return append(f.view.environ(), "POSTHORN_GENERATION="+strconv.Itoa(generation), variableFlights+"="+f.flights)
}

// supervise runs programs until it is told to stop, and a monitor beside them if they
// are to be watched.
func (s *session) supervise(ctx context.Context, only []string, watched bool) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	defer s.neverWait()()
	s.count(cfg)
	warnOfSecretFiles(s.logger(cfg), cfg)
	if err := s.boardable(ctx, cfg, only); err != nil {
		return err
	}
	if err := listenOnce(cfg, s.listeners(watched)...); err != nil {
		return err
	}
	f := &flagship{s: s, only: only, believed: map[string]bool{}, renewed: make(chan *config.Config, 1)}
	if f.view, err = s.openView(cfg); err != nil {
		return err
	}
	defer f.view.show(ctx)()
	f.quarantine = newQuarantine(f)
	scratch, _ := s.lookup("TMPDIR")
	if f.flights, err = os.MkdirTemp(scratch, "posthorn-flights-"); err != nil {
		return fmt.Errorf("make directory of flight records: %w", err)
	}
	defer func() { _ = os.RemoveAll(f.flights) }() // what is left there is of no use to anybody
	programs, err := f.programs(cfg, 0)
	if err != nil {
		return err
	}
	f.quarantine.follow(cfg)
	if f.sup, err = supervisor.New(programs, f.options(cfg)); err != nil {
		return err
	}
	hup := make(chan struct{}, 1)
	defer s.sig.attend(f.sup.Again, hup)()
	var wg sync.WaitGroup
	defer wg.Wait()
	aside, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	wg.Go(func() { f.reloads(aside, cfg, hup) })
	if s.env.Store != nil { // else no program has workers
		hangUp, err := s.answerAPI(ctx, cfg)
		if err != nil {
			return err
		}
		defer hangUp()
		wg.Go(func() { f.quarantine.run(aside) })
		wg.Go(func() { _ = s.executor(s.env.Store, "").Run(aside) }) // it returns nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if s.env.Store != nil && watched {
		wg.Go(func() { stop(f.watch(aside, cfg)) })
	}
	err = f.sup.Run(ctx)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, errMonitor) {
		err = cause
	}
	return err
}

// listeners are the keys of what this process listens at while it supervises: without
// workers it has no store, and so it only shows metrics.
func (s *session) listeners(watched bool) []string {
	keys := []string{config.KeyMetrics, config.KeyAPI, config.KeyHealth}
	switch {
	case s.env.Store == nil:
		return keys[:1]
	case !watched:
		return keys[:2]
	}
	return keys
}

// neverWait lets nothing that is written to the console hold up the supervisor
// or end it, until the function that it returns is called.
func (s *session) neverWait() (end func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // else the runtime ends the process, see os/signal
	stdout, stderr := s.io.Stdout, s.io.Stderr
	out, errs := supervisor.NewLossyWriter(stdout, nil), supervisor.NewLossyWriter(stderr, nil)
	s.io.Stdout, s.io.Stderr = out, errs
	return func() {
		_, _ = out.Close(), errs.Close() // a console that hangs is left behind
		s.io.Stdout, s.io.Stderr = stdout, stderr
		signal.Stop(broken)
	}
}

// boardable checks that what is to be run can be, and opens the store if workers
// are among it: their supervisor releases what the dead ones held.
func (s *session) boardable(ctx context.Context, cfg *config.Config, only []string) error {
	for _, name := range only { // before a store is made for it
		if _, err := knownProgram(cfg, name); err != nil {
			return err
		}
	}
	workers := false
	for _, p := range cfg.Programs {
		workers = workers || len(p.Command) == 0 && (len(only) == 0 || slices.Contains(only, p.Name))
	}
	switch {
	case len(s.io.Self) == 0:
		return &fault{Code: "E-SELF", Title: "this program cannot be found", Exit: exitFailed,
			What: "the path by which it was started leads nowhere", Try: "start it by its full path"}
	case !workers:
		s.env.Log = s.logger(cfg)
		return nil
	case len(s.app.Mux.Kinds()) == 0 && s.app.Setup == nil:
		return noHandlers(s.app.Name)
	}
	_, err := s.creating(ctx)
	return err
}

// programs translates the configuration. Another generation of it replaces the
// workers, which may read any of its settings.
func (f *flagship) programs(cfg *config.Config, generation int) ([]supervisor.Program, error) {
	for _, name := range f.only {
		if _, err := knownProgram(cfg, name); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []supervisor.Program
	for _, p := range cfg.Programs {
		f.believed[p.Name], f.believed[isolatedName(p.Name)] = len(p.Command) == 0, len(p.Command) == 0
		switch {
		case !f.runs(p):
		case len(p.Command) > 0:
			all = append(all, f.s.foreign(p))
		default:
			all = append(all, f.own(p, generation), f.isolated(p, generation))
		}
	}
	return all, nil
}

// own is a program whose processes are workers of this executable.
func (f *flagship) own(p config.Program, generation int) supervisor.Program {
	s := f.s
	return supervisor.Program{
		Name: p.Name, Command: s.again("work", p.Name), Processes: p.Processes, Handshake: true,
		Env:          slices.Concat(s.io.Environ, f.variables(generation)),
		ReadyTimeout: p.ReadyTimeout, StopTimeout: p.StopTimeout, Watchdog: workerWatchdog, Backoff: ownBackoff(),
	}
}

// ownBackoff spaces the starts of workers that die: more closely than those of others,
// since what killed them is set apart before the next one starts.
func ownBackoff() supervisor.Backoff {
	return supervisor.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second, Healthy: 10 * time.Second}
}

// foreign is a program whose processes run any command.
func (s *session) foreign(p config.Program) supervisor.Program {
	return supervisor.Program{
		Name: p.Name, Command: p.Command, Env: s.environ(p.Env), Processes: p.Processes,
		ReadyTimeout: p.ReadyTimeout, StopTimeout: p.StopTimeout, Prefix: true,
	}
}

// again is the command line that runs another command of this executable, with
// the same global flags.
func (s *session) again(args ...string) []string {
	cmd := slices.Concat(s.io.Self, args)
	for _, flag := range []struct{ name, value string }{
		{"config", s.flags.config}, {"store", s.flags.store},
		{"log-format", s.flags.logFormat}, {"log-level", s.flags.logLevel},
	} {
		if flag.value != "" {
			cmd = append(cmd, "--"+flag.name+"="+flag.value)
		}
	}
	if s.flags.verbose > 0 {
		cmd = append(cmd, "--verbose")
	}
	return cmd
}

// environ picks the variables that a foreign command gets: what any program
// needs, and those that the configuration names.
func (s *session) environ(names []string) []string {
	harmless := []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
	var env []string
	for _, pair := range s.io.Environ {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(harmless, name) || strings.HasPrefix(name, "LC_") || slices.Contains(names, name) {
			env = append(env, pair)
		}
	}
	return env
}

func (f *flagship) options(cfg *config.Config) supervisor.Options {
	s := f.s
	o := supervisor.Options{
		Log: s.env.Log, Observe: f.observe, Notify: s.notify, WatchdogEvery: s.watchdogEvery(),
		Guardian: slices.Concat(s.io.Self, []string{"guard"}), GuardianEnv: s.io.Environ,
		Stdout: s.io.Stdout, Stderr: s.io.Stderr, Escape: printable.Text,
		Logs: supervisor.Logs{
			Dir: cfg.Logs.Dir, Size: int64(cfg.Logs.Size), Age: cfg.Logs.Age, Keep: cfg.Logs.Keep,
		},
	}
	o.RunDir, _ = s.lookup("TMPDIR")
	return o
}

// observe does what the end of a process asks for.
func (f *flagship) observe(ctx context.Context, e supervisor.Event) {
	f.mu.Lock()
	own := f.believed[e.Program]
	f.mu.Unlock()
	if e.Kind != supervisor.KindExited {
		return
	}
	f.casualties.note(e)
	f.view.ended(e)
	if own {
		f.buryDead(ctx, e)
	}
}

// reloads reads the configuration again whenever it is told to.
func (f *flagship) reloads(ctx context.Context, cfg *config.Config, hup <-chan struct{}) {
	for generation := 1; ; generation++ {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		next, ok := f.s.reload(cfg)
		if !ok {
			continue
		}
		programs, err := f.programs(next, generation)
		if err == nil {
			err = f.sup.Reload(programs)
		}
		if err != nil {
			f.s.report(err)
			f.s.env.Log.Warn("configuration refused: the old programs stay")
			continue
		}
		f.quarantine.follow(next)
		f.renew(next)
		cfg = next
		f.s.env.Log.Info("programs follow the new configuration")
	}
}
