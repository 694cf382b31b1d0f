package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// closeWithin bounds the wait for readings that hang.
const closeWithin = 2 * time.Second

func (s *session) monitorCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use: "monitor", Short: "Judge all the time, say what changes, and heal what can be healed",
		Long: `Read the state of the store, the workers and this host every monitor.every, judge it by the rules, log each
change with its reason, and act on critical conditions within the budget: config explain monitor. Several monitors may
watch one store: they share what they know, and one of them acts. With --once it makes one round, for cron, and says
nothing when nothing has changed. Exit code of a round: 0 healthy, 1 not or unknown, 69 the store is unreachable.
With health.listen it serves /healthz and /readyz, and with api.listen the API about dead letters.`,
		Example: s.example(`
			monitor
			monitor --log-format json
			monitor --once`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.config()
			if err != nil {
				return err
			}
			if once {
				return s.monitorOnce(cmd.Context(), cfg)
			}
			warnOfSecretFiles(s.logger(cfg), cfg)
			if st, err := s.existing(cmd.Context()); err == nil { // else it is the monitor's to say
				defer s.operate(cmd.Context(), st, "")()
				hangUp, err := s.answerAPI(cmd.Context(), cfg)
				if err != nil {
					return err
				}
				defer hangUp()
			}
			return s.runMonitor(cmd.Context(), cfg, nil)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "one round, then end")
	group(cmd, "How", "once")
	return cmd
}

// programs tells what the supervisor of this process knows of its programs; nil
// is none.
type programs func(ctx context.Context) ([]monitor.Program, error)

// runMonitor judges, acts and serves the probes until ctx ends.
func (s *session) runMonitor(ctx context.Context, cfg *config.Config, of programs) (err error) {
	src := s.sources(cfg)
	src.Programs = of
	g := monitor.NewGatherer(src)
	defer func() { err = errors.Join(err, endReadings(g)) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := newHealer(ctx, s)
	defer h.wait()
	courier := s.courier(cfg)
	m := s.newMonitor(cfg, g.Gather, h, courier.Observe)
	var wg sync.WaitGroup
	defer wg.Wait()
	var serving error
	if cfg.Monitor.Listen != "" {
		l, err := listenLocally(ctx, cfg.Monitor.Listen)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer stop()
			serving = probe{m}.run(ctx, l)
		})
	}
	wg.Go(func() { courier.Run(ctx) })
	err = m.Run(ctx)
	stop()
	wg.Wait()
	return errors.Join(err, serving)
}

// monitorOnce makes one round.
func (s *session) monitorOnce(ctx context.Context, cfg *config.Config) error {
	g := monitor.NewGatherer(s.sources(cfg))
	var (
		seen  monitor.Reading
		round monitor.Round
	)
	h := newHealer(ctx, s)
	m := s.newMonitor(cfg, func(ctx context.Context) monitor.Reading {
		seen = g.Gather(ctx)
		return seen
	}, h, func(r monitor.Round) { round = r })
	v := m.Once(ctx)
	h.wait()
	if !m.Remembers() { // nothing can have lasted: what is seen has to do
		v = monitor.Engine{Rules: cfg.Monitor.Rules}.Glance(monitor.State{}, seen)
		round.Verdict = v
	}
	if ctx.Err() == nil {
		s.courier(cfg).Flush(ctx, round, flushWithin)
	}
	switch err := endReadings(g); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isAway(seen):
		s.say("%s\n", seen.Store.Value.Why)
		return outcome(exitUnreachable)
	case v.Level >= monitor.Unknown:
		return outcome(exitFailed)
	default:
		return err
	}
}

func isAway(r monitor.Reading) bool {
	return r.Store.Knowledge == monitor.Known && !r.Store.Value.Reachable
}

func endReadings(g *monitor.Gatherer) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	return g.Close(ctx)
}

func (s *session) newMonitor(
	cfg *config.Config, gather func(context.Context) monitor.Reading, h *healer, observe func(monitor.Round),
) *monitor.Monitor {
	return monitor.New(gather, monitor.Options{
		Every: cfg.Monitor.Every, Log: s.logger(cfg), Memory: recollection{s, monitorDocument}, Actions: h,
		Observe: observe,
		Engine:  monitor.Engine{Rules: cfg.Monitor.Rules, Budget: cfg.Monitor.Budget},
	})
}

// sources are where the monitor of this process reads.
func (s *session) sources(cfg *config.Config) monitor.Sources {
	src := monitor.Sources{Open: s.existing, MemoryLimits: map[string]int64{}, Explain: func(err error) (string, string) {
		why := s.explainAny(err)
		what := why.Title + ": " + why.What
		if why.Try != "" {
			what += "; " + why.Try
		}
		return what, "doctor"
	}}
	src.Paused, src.LogDir, src.Alerts = s.paused, cfg.Logs.Dir, s.undelivered(cfg)
	for _, t := range cfg.Transports {
		for _, queue := range t.Queues {
			src.Queues = append(src.Queues, monitor.QueueName{Name: queue, Transport: t.Name})
		}
	}
	for _, p := range cfg.Programs {
		src.MemoryLimits[p.Name] = int64(p.Limits.Memory)
	}
	return src
}

// glance reads and judges once, with what a running monitor knows.
func (s *session) glance(
	ctx context.Context, cfg *config.Config, e monitor.Engine,
) (v monitor.Verdict, away bool, err error) {
	g := monitor.NewGatherer(s.sources(cfg))
	r := g.Gather(ctx)
	var state monitor.State
	if !isAway(r) {
		state = s.remembered(ctx, cfg, r.At)
	}
	v = e.Glance(state, r)
	err = endReadings(g)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return v, isAway(r), err
}

// remembered is what a running monitor knows; one that has not been heard of lately
// knows nothing.
func (s *session) remembered(ctx context.Context, cfg *config.Config, at time.Time) monitor.State {
	ctx, cancel := context.WithTimeout(ctx, closeWithin)
	defer cancel()
	body, _, err := recollection{s, monitorDocument}.Load(ctx)
	if err != nil {
		return monitor.State{}
	}
	state, err := monitor.Decode(body)
	if err != nil || at.Sub(state.At).Abs() > 3*cfg.Monitor.Every+time.Minute {
		return monitor.State{}
	}
	return state
}
