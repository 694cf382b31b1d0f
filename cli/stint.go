package cli

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/worker"
)

// errReload ends the worker of the old configuration.
var errReload = errors.New("the configuration was read again")

// A stint is the work of this process as a worker.
type stint struct {
	plan    func(*config.Config) (worker.Options, error)
	named   func(id string)   // the worker has its id; nil: nobody asks
	stopped func(cause error) // the worker has stopped; nil: nobody asks
	// operates says that the process carries operations on: its supervisor does not.
	operates bool

	mu  sync.Mutex
	now *worker.Worker
}

// runWorker runs one worker until it has ended or the process is told to stop. A
// SIGHUP puts one of the new configuration in its place.
func (s *session) runWorker(ctx context.Context, st *stint) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	s.count(cfg)
	if _, err := s.prepare(ctx); err != nil {
		return err
	}
	if len(s.app.Mux.Kinds()) == 0 {
		return noHandlers(s.app.Name)
	}
	seen, err := s.openView(cfg)
	if err != nil {
		return err
	}
	defer seen.show(ctx)()
	if st.operates { // else its supervisor has warned of them
		warnOfSecretFiles(s.env.Log, cfg)
		defer s.operate(ctx, s.env.Store, "")()
	}
	hup := make(chan struct{}, 1)
	defer s.sig.attend(st.abort, hup)()
	for {
		o, err := st.plan(cfg)
		if err != nil {
			return err
		}
		next, err := s.work(ctx, st, o, hup)
		if next == nil || ctx.Err() != nil {
			return err
		}
		cfg = next
	}
}

// noHandlers is what the stock binary must say.
func noHandlers(name string) error {
	return &fault{
		Code: "E-NO-HANDLERS", Title: "this program has no handlers", Exit: exitUsage,
		What: name + " has no handler compiled in, so it cannot run a worker",
		Try:  "run the command of your application's own binary, made with cli.Main; `init` writes one to start from",
	}
}

// work runs a worker. It returns the configuration to go on with, if it was read
// again.
func (s *session) work(
	ctx context.Context, st *stint, o worker.Options, hup <-chan struct{},
) (next *config.Config, err error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(ended)
		err = s.sail(working, st, o)
	})
	defer wg.Wait()
	for {
		select {
		case <-ended:
			return next, err
		case <-hup:
			if cfg, ok := s.reload(s.cfg); ok {
				next = cfg
				stop(errReload)
			}
		}
	}
}

// sail runs a worker, and says why it stopped.
func (s *session) sail(ctx context.Context, st *stint, o worker.Options) error {
	w, err := worker.New(s.env.Store, s.app.Mux, o)
	if err != nil {
		return err
	}
	st.set(w)
	defer st.set(nil)
	if st.named != nil {
		st.named(w.ID())
	}
	s.env.Log.Info("worker starts", "worker", w.ID(), "program", o.Program,
		"queues", strings.Join(o.Queues, ","), "concurrency", o.Concurrency)
	err = w.Run(ctx)
	why := w.StopCause()
	if why == nil { // it was told to stop before it had begun
		why = cmp.Or(context.Cause(ctx), err)
	}
	if st.stopped != nil {
		st.stopped(why)
	}
	s.say("worker %s (%s) has stopped: %v\n", w.ID(), o.Program, why)
	return err
}

func (st *stint) set(w *worker.Worker) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.now = w
}

// abort cancels the handlers.
func (st *stint) abort() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.now != nil {
		st.now.Abort()
	}
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
	if next.Metrics != old.Metrics {
		s.env.Log.Warn("metrics are shown as before: another metrics.listen or token needs a restart")
	}
	if next.API != old.API {
		s.env.Log.Warn("the API is answered as before: another api.listen or token needs a restart")
	}
	s.cfg = next
	s.setLevel(next)
	s.env.Log.Info("configuration read again")
	return next, true
}

// stuckLimit is how long a handler may run on after its deadline until the worker of
// consume ends, so that whatever supervises it starts a fresh one.
const stuckLimit = 30 * time.Second

// baseOptions are what all workers of the process have in common.
func (s *session) baseOptions(cfg *config.Config, program string) worker.Options {
	o := worker.Options{
		Program: program, Version: s.app.Version, Retention: cfg.Retention, StuckLimit: stuckLimit,
		Dispatcher: s.env.Dispatcher, Log: s.env.Log, Observe: s.observer(),
		QueueRetry: map[string]posthorn.RetryPolicy{},
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
