package metrics

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/store"
)

// gauge describes a metric that is read off, and not counted.
func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// A tallyCollector shows a Tally to Prometheus.
type tallyCollector struct {
	tally *Tally
	descs [familyCount]*prometheus.Desc

	poolSize, poolOpen, poolBusy *prometheus.Desc
}

func newTallyCollector(t *Tally) *tallyCollector {
	c := &tallyCollector{
		tally:    t,
		poolSize: gauge("posthorn_pool_size", "The most connections of a pool, of all processes; 0 is no bound.", "pool"),
		poolOpen: gauge("posthorn_pool_open_connections", "Connections to the store, of all processes.", "pool"),
		poolBusy: gauge("posthorn_pool_busy_connections", "Connections to the store that are at work.", "pool"),
	}
	for i, f := range t.kinds {
		c.descs[i] = f.desc()
	}
	return c
}

// Describe names the metrics.
func (c *tallyCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
	ch <- c.poolSize
	ch <- c.poolOpen
	ch <- c.poolBusy
}

// Collect copies the figures first, so that a slow reader keeps nobody from counting.
func (c *tallyCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range append(c.counted(), c.pools()...) {
		ch <- m
	}
}

func (c *tallyCollector) counted() []prometheus.Metric {
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]prometheus.Metric, 0, len(t.series)+16)
	for k, s := range t.series {
		f := &t.kinds[k.family]
		values := k.values[:len(f.labels)]
		if f.buckets == nil {
			out = append(out, prometheus.MustNewConstMetric(c.descs[k.family], prometheus.CounterValue, s.sum, values...))
			continue
		}
		out = append(out, s.histogram(c.descs[k.family], f.buckets, values))
	}
	for i, f := range t.kinds { // a counter without labels exists from the start
		if len(f.labels) == 0 && t.count[i] == 0 && f.buckets == nil {
			out = append(out, prometheus.MustNewConstMetric(c.descs[i], prometheus.CounterValue, 0))
		}
	}
	return out
}

// histogram makes the cumulative buckets that Prometheus wants.
func (s *series) histogram(desc *prometheus.Desc, bounds []float64, values []string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(bounds))
	total := uint64(0)
	for i, bound := range bounds {
		total += s.buckets[i]
		buckets[bound] = total
	}
	h := prometheus.MustNewConstHistogram(desc, s.count, s.sum, buckets, values...)
	var exemplars []prometheus.Exemplar
	for _, e := range s.exemplars {
		if e.Trace != "" {
			exemplars = append(exemplars, prometheus.Exemplar{
				Value: e.Value, Labels: prometheus.Labels{"trace_id": e.Trace}, Timestamp: e.At,
			})
		}
	}
	if len(exemplars) == 0 {
		return h
	}
	return prometheus.MustNewMetricWithExemplars(h, exemplars...)
}

// pools sums the connections of all processes.
func (c *tallyCollector) pools() []prometheus.Metric {
	var out []prometheus.Metric
	for _, p := range c.tally.poolSums() {
		for _, m := range []struct {
			desc  *prometheus.Desc
			value int
		}{{c.poolSize, p.Size}, {c.poolOpen, p.Open}, {c.poolBusy, p.Busy}} {
			out = append(out, prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(m.value), p.Name))
		}
	}
	return out
}

func (t *Tally) poolSums() []store.PoolUse {
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := map[string]*store.PoolUse{}
	for _, uses := range t.pools {
		for _, p := range uses {
			name := t.words[byPool].word(p.Name)
			if sums[name] == nil {
				sums[name] = &store.PoolUse{Name: name}
			}
			sum := sums[name]
			sum.Size, sum.Open, sum.Busy = sum.Size+p.Size, sum.Open+p.Open, sum.Busy+p.Busy
		}
	}
	out := make([]store.PoolUse, 0, len(sums))
	for _, sum := range sums {
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b store.PoolUse) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
