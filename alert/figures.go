package alert

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/monitor"
)

// Bounds of series.
const (
	maxShown    = 200 // conditions
	maxCounted  = 50  // channels
	otherSeries = "other"
)

// Figures show Prometheus the conditions and what became of alerts. The zero value is ready,
// and a nil one counts nothing. It may be used concurrently.
type Figures struct {
	mu         sync.Mutex
	conditions []monitor.Condition
	channels   map[string]*tally
}

// A tally counts what one channel was given.
type tally struct {
	sent    map[Event]float64
	failed  float64
	last    time.Time
	waiting int
}

// of is the tally of a channel.
func (f *Figures) of(channel string) *tally {
	if f.channels == nil {
		f.channels = map[string]*tally{}
	}
	if f.channels[channel] == nil && len(f.channels) >= maxCounted {
		channel = otherSeries
	}
	if f.channels[channel] == nil {
		f.channels[channel] = &tally{sent: map[Event]float64{}}
	}
	return f.channels[channel]
}

// see takes the conditions of a round.
func (f *Figures) see(cs []monitor.Condition) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conditions = slices.Clone(cs)
}

// count counts a notice.
func (f *Figures) count(o Outcome) {
	if f == nil || o.Void {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of(o.Channel)
	if o.Error != "" {
		t.failed++
		return
	}
	t.sent[o.Event]++
	t.last = time.Now()
}

// wait shows how many notices wait for each channel.
func (f *Figures) wait(s State, channels []Settings, now time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range channels {
		f.of(c.Name).waiting = s.waiting(c, now)
	}
}

// waiting is how many notices a channel has yet to be given.
func (s State) waiting(c Settings, now time.Time) (n int) {
	for _, a := range s.Alerts {
		_, silenced := s.Silenced(a.Condition, now)
		if _, more := a.pending(c.withDefaults(), silenced, now); more {
			n++
		}
	}
	return n
}

// descriptions of the metrics.
type descriptions struct{ condition, sent, failed, last, waiting *prometheus.Desc }

func describe() descriptions {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("posthorn_"+name, help, labels, nil)
	}
	return descriptions{
		condition: d("condition", "1 for each condition that the monitor tells; those beyond a bound are counted as other.",
			"rule", "subject", "host", "level"),
		sent:    d("alerts_sent_total", "Alerts that a channel has taken.", "channel", "event"),
		failed:  d("alerts_failed_total", "Alerts that a channel did not take; each is tried again.", "channel"),
		last:    d("alert_last_delivery_timestamp_seconds", "When a channel took an alert last.", "channel"),
		waiting: d("alerts_waiting", "Alerts that a channel has yet to take.", "channel"),
	}
}

// Describe names the metrics.
func (f *Figures) Describe(ch chan<- *prometheus.Desc) {
	d := describe()
	for _, desc := range []*prometheus.Desc{d.condition, d.sent, d.failed, d.last, d.waiting} {
		ch <- desc
	}
}

// Collect shows the metrics.
func (f *Figures) Collect(ch chan<- prometheus.Metric) {
	for _, m := range f.metrics() {
		ch <- m
	}
}

// metrics are copied before anybody reads them, so that a slow reader holds up nobody.
func (f *Figures) metrics() (out []prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := describe()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...))
	}
	series := map[[4]string]float64{}
	for i, c := range f.conditions {
		labels := [4]string{c.Name, label(c.Subject), label(c.Host), c.Level.String()}
		if i >= maxShown {
			labels = [4]string{otherSeries, otherSeries, otherSeries, c.Level.String()}
		}
		series[labels]++
	}
	for labels, v := range series {
		gauge(d.condition, v, labels[:]...)
	}
	for name, t := range f.channels {
		for event, n := range t.sent {
			out = append(out, prometheus.MustNewConstMetric(d.sent, prometheus.CounterValue, n, name, string(event)))
		}
		out = append(out, prometheus.MustNewConstMetric(d.failed, prometheus.CounterValue, t.failed, name))
		if !t.last.IsZero() {
			gauge(d.last, float64(t.last.UnixMilli())/1000, name)
		}
		gauge(d.waiting, float64(t.waiting), name)
	}
	return out
}

// maxLabel bounds a label's value in bytes.
const maxLabel = 128

// label makes a value that others wrote safe to show.
func label(value string) string {
	value = printable.Text(value)
	for i := range value {
		if i > maxLabel {
			return value[:i]
		}
	}
	return value
}
