package cli

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/supervisor"
	"github.com/posthorn/posthorn/worker"
)

// metricsSocket is the environment variable by which a process that has the listener for
// metrics tells those that it starts where to report to.
const metricsSocket = "POSTHORN_METRICS_SOCKET"

// A sight shows what the run's workers do: at a listener of its own, or by reporting to the
// process that has one. Nil shows nothing.
type sight struct {
	s        *session
	exporter *metrics.Exporter
	reporter *metrics.Reporter
}

// count begins to count what happens, if somebody wants to know. The store is opened
// later, so that it counts, too.
func (s *session) count(cfg *config.Config) {
	if socket, _ := s.lookup(metricsSocket); socket != "" || cfg.Metrics.Listen != "" {
		s.tally, s.figures = metrics.NewTally(s.foreseen(cfg)), &alert.Figures{}
	}
}

// openView begins to listen, if the configuration says so, when the store is open.
func (s *session) openView(cfg *config.Config) (*sight, error) {
	if s.tally == nil {
		return nil, nil //nolint:nilnil // documented: nil shows nothing
	}
	v := &sight{s: s}
	if s.env.Log == nil {
		s.env.Log = s.logger(cfg)
	}
	if socket, _ := s.lookup(metricsSocket); socket != "" {
		v.reporter = metrics.NewReporter(socket, s.tally, s.env.Store.Uses)
		return v, nil
	}
	token, err := tokenOf(cfg, "metrics", cfg.Metrics)
	if err != nil {
		return nil, err
	}
	o := metrics.Options{
		Listen: cfg.Metrics.Listen, Token: token, Tally: s.tally, Known: s.foreseen(cfg), Version: s.app.Version,
		Log: s.env.Log, Collectors: []prometheus.Collector{s.figures},
	}
	if st := s.env.Store; st != nil {
		o.Store, o.Pools, o.Dialect = st, st.Uses, st.Dialect()
	}
	if v.exporter, err = metrics.NewExporter(o); err != nil { // messages are worth more than figures
		s.env.Log.Error("cannot show metrics: going on without", "error", err)
		return nil, nil //nolint:nilnil // documented: nil shows nothing
	}
	return v, nil
}

// environ is what processes that this one starts need in their environment to report.
func (v *sight) environ() []string {
	if v == nil || v.exporter == nil {
		return nil
	}
	return []string{metricsSocket + "=" + v.exporter.Socket()}
}

// ended counts a process that has ended, and that nobody had told to.
func (v *sight) ended(e supervisor.Event) {
	if v != nil && !e.Exit.Planned {
		v.s.tally.Restarted(strings.TrimSuffix(e.Program, isolatedSuffix), endOf(*e.Exit))
	}
}

// endOf is why a process ended, in a word that is known beforehand.
func endOf(e supervisor.Exit) string {
	switch {
	case e.Err != nil:
		return "not_started"
	case e.OOM:
		return "out_of_memory"
	case e.Signal != 0:
		return "signal"
	case e.Code != 0:
		return "failure"
	default:
		return "limit" // or it had nothing to do
	}
}

// foreseen is what the configuration and the handlers tell beforehand.
func (s *session) foreseen(cfg *config.Config) metrics.Known {
	k := metrics.Known{Kinds: s.app.Mux.Kinds(), Queues: map[string]string{}}
	for _, t := range cfg.Transports {
		for _, queue := range t.Queues {
			k.Queues[queue] = t.Name
		}
	}
	for _, p := range cfg.Programs {
		k.Programs = append(k.Programs, p.Name)
	}
	return k
}

// show lets the sight be seen until the function that it returns is called, which waits
// for its end. Call that when the workers have ended: the last figures are passed on then.
func (v *sight) show(ctx context.Context) (hide func()) {
	if v == nil {
		return func() {}
	}
	run := v.run()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			v.s.env.Log.Warn("metrics end", "error", err)
		}
	})
	return func() {
		stop()
		wg.Wait()
	}
}

// run is what a sight does while it is seen.
func (v *sight) run() func(context.Context) error {
	if v.reporter != nil {
		return v.reporter.Run
	}
	v.s.say("metrics at http://%s/metrics\n", v.exporter.Address())
	return v.exporter.Run
}

// observer is the workers' Observe.
func (s *session) observer() func(worker.Event) {
	if s.tally == nil {
		return nil
	}
	s.tally.Reserve(s.app.Mux.Kinds()...) // Setup may have registered some
	return s.tally.Observe
}

// meter is the store's Meter.
func (s *session) meter() store.Meter {
	if s.tally == nil {
		return nil
	}
	return s.tally
}
