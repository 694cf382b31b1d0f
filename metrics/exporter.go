// Package metrics shows Prometheus what workers, queues and the store do.
//
// A [Tally] counts: it is a worker's Observe and a store's Meter. An [Exporter] has the
// listener; it shows a Tally, the store's own figures, and what other processes report
// to it by a [Reporter]. Nobody who handles messages ever waits for any of them.
//
// The number of series is bounded by construction: each label has a bound, and so has each
// metric; what is beyond is counted under the value other.
package metrics

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

// Options are the settings of an Exporter. Zero fields have documented defaults.
type Options struct {
	Listen string // host:port; beyond loopback it needs a Token
	Token  string // that scrapes must have as a bearer token; empty lets in everybody who reaches Listen

	Tally *Tally // required
	Known Known
	Store Source                 // whose figures are shown; nil shows none
	Pools func() []store.PoolUse // of this process; nil shows none

	Version string // of the application
	Dialect string // of the store
	Log     *slog.Logger

	// Collectors are more that is to be shown. They must not block.
	Collectors []prometheus.Collector
}

// An Exporter shows metrics at an address of its own.
type Exporter struct {
	server *server
	hub    *hub
	reader *reader
}

// NewExporter begins to listen. It fails when the address is in use or is not allowed:
// see CheckListen. Call Run, which ends what NewExporter has begun.
func NewExporter(o Options) (*Exporter, error) {
	o.Log = tap.Logger(o.Log)
	e := &Exporter{}
	registry := prometheus.NewRegistry()
	shown := append([]prometheus.Collector{
		buildInfo(o), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&poolReader{tallyCollector: newTallyCollector(o.Tally), pools: o.Pools},
	}, o.Collectors...)
	if o.Store != nil {
		e.reader = newReader(o.Store)
		shown = append(shown, newStoreCollector(e.reader, o.Known, o.Tally))
	}
	for _, c := range shown {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	var err error
	if e.server, err = newServer(o.Listen, o.Token, registry, o.Log); err != nil {
		return nil, err
	}
	if e.hub, err = newHub(o.Tally, o.Log); err != nil {
		return nil, errors.Join(err, e.server.listener.Close())
	}
	return e, nil
}

// Address is where the metrics are: host:port.
func (e *Exporter) Address() string { return e.server.listener.Addr().String() }

// Socket is the address for the Reporters of other processes, on this host and of this
// user.
func (e *Exporter) Socket() string { return e.hub.listener.Addr().String() }

// Run answers scrapes and takes in reports until ctx ends.
func (e *Exporter) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer e.hub.close()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { e.hub.run(ctx) })
	if e.reader != nil {
		beside.Go(func() { e.reader.run(ctx) })
	}
	err := e.server.run(ctx)
	stop()
	return err
}

// poolReader looks at the process's own connections when somebody asks.
type poolReader struct {
	*tallyCollector
	pools func() []store.PoolUse
}

// Collect shows the tally, with the connections as they are now.
func (c *poolReader) Collect(ch chan<- prometheus.Metric) {
	if c.pools != nil {
		c.tally.Pools("", c.pools())
	}
	c.tallyCollector.Collect(ch)
}

// buildInfo is what runs here.
func buildInfo(o Options) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "posthorn_build_info", Help: "1, with what runs here as labels.",
	}, []string{"version", "store", "go_version"})
	g.WithLabelValues(clean(o.Version), clean(o.Dialect), runtime.Version()).Set(1)
	return g
}
