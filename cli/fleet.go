package cli

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/worker"
)

// Bounds of the wait before a worker that failed is replaced.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// errReload ends the workers of the old configuration.
var errReload = errors.New("the configuration was read again")

// A berth is the place of one worker, which may be replaced.
type berth struct {
	opts     worker.Options
	replaced bool // a worker that reaches a limit is replaced
}

// A fleet runs the workers of one process.
type fleet struct {
	s    *session
	env  Env
	plan func(*config.Config) ([]berth, error)

	mu      sync.Mutex
	running map[*worker.Worker]bool
}

// runWorkers runs the workers of a plan until they have ended or the process
// is told to stop. A SIGHUP makes a new plan of the configuration.
func (s *session) runWorkers(ctx context.Context, plan func(*config.Config) ([]berth, error)) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	s.count(cfg)
	env, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	if len(s.app.Mux.Kinds()) == 0 {
		return noHandlers(s.app.Name)
	}
	view, err := s.openView(cfg)
	if err != nil {
		return err
	}
	defer view.show(ctx)()
	f := &fleet{s: s, env: env, plan: plan, running: map[*worker.Worker]bool{}}
	hup := make(chan struct{}, 1)
	defer s.sig.attend(f.abort, hup)()
	for again := true; again; {
		berths, err := plan(cfg)
		if err != nil {
			return err
		}
		if cfg, again, err = f.run(ctx, cfg, berths, hup); err != nil {
			return err
		}
	}
	return nil
}

// noHandlers is what the stock binary must say.
func noHandlers(name string) error {
	return &fault{
		Code: "E-NO-HANDLERS", Title: "this program has no handlers", Exit: exitUsage,
		What: name + " has no handler compiled in, so it cannot run a worker",
		Try:  "run the command of your application's own binary, made with cli.Main; `init` writes one to start from",
	}
}

// run runs the berths. It returns the configuration to go on with, if it was
// read again.
func (f *fleet) run(
	ctx context.Context, cfg *config.Config, berths []berth, hup <-chan struct{},
) (*config.Config, bool, error) {
	sailing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	errs := make([]error, len(berths))
	var wg, all sync.WaitGroup
	for i, b := range berths {
		wg.Go(func() {
			if errs[i] = f.keep(sailing, b); errs[i] != nil {
				stop(errs[i])
			}
		})
	}
	ended := make(chan struct{})
	all.Go(func() { wg.Wait(); close(ended) })
	defer all.Wait()
	for {
		select {
		case <-ended:
			return cfg, false, firstFault(errs)
		case <-hup:
			next, ok := f.s.reload(cfg)
			if !ok {
				continue
			}
			stop(errReload)
			<-ended
			return next, ctx.Err() == nil, firstFault(errs)
		}
	}
}

// firstFault is the first error that is not an ordinary end.
func firstFault(errs []error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, errMemory) && !errors.Is(err, errTold) {
			return err
		}
	}
	return nil
}

// reload reads the configuration again. A bad one is refused.
func (s *session) reload(old *config.Config) (*config.Config, bool) {
	next, err := s.loadConfig()
	if err != nil {
		s.report(err)
		s.env.Log.Warn("configuration refused: the old one stays")
		return old, false
	}
	if next.Store != old.Store {
		s.env.Log.Warn("another store needs a restart: the old configuration stays")
		return old, false
	}
	s.cfg = next
	s.setLevel(next)
	s.env.Log.Info("configuration read again: the workers are replaced")
	return next, true
}

// keep runs a worker, and its successors.
func (f *fleet) keep(ctx context.Context, b berth) error {
	backoff := minBackoff
	for {
		began := time.Now()
		why, err := f.sail(ctx, b)
		switch {
		case ctx.Err() != nil:
			return nil
		case !b.replaced:
			return err
		case err != nil:
			f.env.Log.Error("worker ended with an error: it will be replaced", "program", b.opts.Program, "error", err)
		case !errors.Is(why, worker.ErrLimit):
			return errTold
		case b.opts.Limits.Memory > 0 && worker.ResidentMemory() > b.opts.Limits.Memory:
			f.env.Log.Warn("memory limit reached: the process ends, so that a fresh one takes its place",
				"program", b.opts.Program, "limit", b.opts.Limits.Memory)
			return errMemory
		}
		if err == nil || time.Since(began) > maxBackoff {
			backoff = minBackoff
		}
		if err != nil || time.Since(began) < minBackoff {
			pause(ctx, backoff/2+rand.N(backoff/2))
			backoff = min(2*backoff, maxBackoff)
		}
	}
}

// errMemory ends the process: another worker in it would find the memory
// taken. What started the process starts a fresh one.
var errMemory = errors.New("memory limit reached")

// errTold ends all the workers of the process when one of them was told to
// stop: the order is to the process, and one that waits to be replaced would
// not hear it.
var errTold = errors.New("told to stop")

// sail runs one worker. It returns why it stopped, and its error.
func (f *fleet) sail(ctx context.Context, b berth) (why, err error) {
	w, err := worker.New(f.env.Store, f.s.app.Mux, b.opts)
	if err != nil {
		return nil, err
	}
	f.mark(w, true)
	defer f.mark(w, false)
	f.env.Log.Info("worker starts", "worker", w.ID(), "program", b.opts.Program,
		"queues", strings.Join(b.opts.Queues, ","), "concurrency", b.opts.Concurrency)
	err = w.Run(ctx)
	why = w.StopCause()
	if why == nil { // it was told to stop before it had begun
		why = cmp.Or(context.Cause(ctx), err)
	}
	f.s.say("worker %s (%s) has stopped: %v\n", w.ID(), b.opts.Program, why)
	return why, err
}

func (f *fleet) mark(w *worker.Worker, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running {
		f.running[w] = true
	} else {
		delete(f.running, w)
	}
}

// abort cancels the handlers of all workers.
func (f *fleet) abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.running {
		w.Abort()
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// baseOptions are what all workers of the process have in common.
func (s *session) baseOptions(cfg *config.Config, program string) worker.Options {
	o := worker.Options{
		Program: program, Version: s.app.Version, Retention: cfg.Retention,
		Dispatcher: s.env.Dispatcher, Log: s.env.Log, Observe: s.observer(), QueueRetry: map[string]posthorn.RetryPolicy{},
	}
	for _, t := range cfg.Transports {
		for _, queue := range t.Queues {
			o.QueueRetry[queue] = policy(t.Retry)
		}
	}
	return o
}

// policy turns a configured strategy into the library's, where a zero means
// the default.
func policy(r config.Retry) posthorn.RetryPolicy {
	p := posthorn.RetryPolicy{
		MaxRetries: r.MaxRetries, Delay: r.Delay, Multiplier: r.Multiplier, MaxDelay: r.MaxDelay, Jitter: r.Jitter,
	}
	if p.MaxRetries == 0 {
		p.MaxRetries = posthorn.NoRetry
	}
	if p.Jitter == 0 {
		p.Jitter = -1
	}
	for class, other := range r.Classes {
		if p.Classes == nil {
			p.Classes = map[driver.Class]posthorn.RetryPolicy{}
		}
		p.Classes[class] = policy(other)
	}
	return p
}
