package metrics

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/posthorn/posthorn/store"
)

// reportEvery is how often a worker process passes on what it has counted. That much is
// lost when it is killed.
const reportEvery = 250 * time.Millisecond

// reportWithin bounds one report to a process that does not listen.
const reportWithin = time.Second

// maxEntries bounds the series of one line, and maxLine its bytes.
const (
	maxEntries = 500
	maxLine    = 4 << 20
)

// A line is one report: what has been counted since the last one. It ends with a line
// break, so that one that was cut off is known as such.
type line struct {
	Series []entry         `json:"series,omitempty"`
	Pools  []store.PoolUse `json:"pools,omitempty"`
}

// An entry is a series as it is passed on; the family goes by its name, since the two
// processes may be of different versions.
type entry struct {
	Family    string     `json:"f"`
	Labels    []string   `json:"l,omitempty"`
	Count     uint64     `json:"n,omitempty"`
	Sum       float64    `json:"s"`
	Buckets   []uint64   `json:"b,omitempty"`
	Exemplars []exemplar `json:"x,omitempty"`
}

// A Reporter passes what a worker process counts on to the process that started it, which
// has the listener: see Exporter.Address. Its Tally is not shown otherwise.
type Reporter struct {
	address string
	tally   *Tally
	pools   func() []store.PoolUse

	conn net.Conn // nil: there is none
	told []store.PoolUse
}

// NewReporter makes a Reporter to an address that an Exporter gave. pools may be nil.
func NewReporter(address string, t *Tally, pools func() []store.PoolUse) *Reporter {
	if pools == nil {
		pools = func() []store.PoolUse { return nil }
	}
	return &Reporter{address: address, tally: t, pools: pools}
}

// Run reports until ctx ends, and once more then: call it off when the workers have
// ended. What cannot be passed on is kept for the next time.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = r.report(ctx) // the next one has it all
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportWithin)
			defer cancel()
			err := r.report(last)
			if r.conn != nil {
				err = errors.Join(err, r.conn.Close())
			}
			return err
		}
	}
}

// report passes on what has been counted. A line either arrives as a whole or not at all,
// so nothing is counted twice.
func (r *Reporter) report(ctx context.Context) error {
	taken, pools := r.tally.take(), r.pools()
	if len(taken) == 0 && slices.Equal(pools, r.told) {
		return nil
	}
	for {
		l, rest := r.tally.line(taken)
		l.Pools = pools
		if err := r.write(ctx, l); err != nil {
			r.tally.giveBack(taken)
			return err
		}
		r.told, taken = pools, rest
		if len(rest) == 0 {
			return nil
		}
	}
}

// line puts as many series into a line as it may have, and returns the rest.
func (t *Tally) line(taken map[key]*series) (l line, rest map[key]*series) {
	rest = map[key]*series{}
	for k, s := range taken {
		if len(l.Series) < maxEntries {
			l.Series = append(l.Series, t.entry(k, s))
		} else {
			rest[k] = s
		}
	}
	return l, rest
}

func (r *Reporter) write(ctx context.Context, l line) error {
	if r.conn == nil {
		dialer := net.Dialer{Timeout: reportWithin}
		conn, err := dialer.DialContext(ctx, "unix", r.address)
		if err != nil {
			return fmt.Errorf("report figures: %w", err)
		}
		r.conn = conn
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("report figures: %w", err)
	}
	_ = r.conn.SetWriteDeadline(time.Now().Add(reportWithin)) // a broken connection fails below
	if _, err := r.conn.Write(append(text, '\n')); err != nil {
		_ = r.conn.Close()
		r.conn, r.told = nil, nil
		return fmt.Errorf("report figures: %w", err)
	}
	return nil
}

// take empties the tally. The words stay: they bound what this process may say at all.
func (t *Tally) take() map[key]*series {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.series
	t.series, t.count, t.known = map[key]*series{}, [familyCount]int{}, map[course]*counted{}
	return taken
}

// giveBack adds what was taken.
func (t *Tally) giveBack(taken map[key]*series) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, s := range taken {
		t.of(k.family, k.values[:len(t.kinds[k.family].labels)]).merge(s)
	}
}

func (t *Tally) entry(k key, s *series) entry {
	f := &t.kinds[k.family]
	return entry{
		Family: f.name, Labels: k.values[:len(f.labels)], Count: s.count, Sum: s.sum, Buckets: s.buckets,
		Exemplars: s.exemplars,
	}
}

// absorb adds what another process has counted. What does not fit is left out: that
// process may be of another version.
func (t *Tally) absorb(entries []entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		family := t.familyOf(e)
		if family < 0 {
			continue
		}
		t.of(family, e.Labels).merge(&series{count: e.Count, sum: e.Sum, buckets: e.Buckets, exemplars: e.exemplars()})
	}
}

// familyOf finds the family that an entry fits, or -1.
func (t *Tally) familyOf(e entry) int {
	for i, f := range t.kinds {
		buckets := 0
		if f.buckets != nil {
			buckets = len(f.buckets) + 1
		}
		if f.name == e.Family && len(e.Labels) == len(f.labels) && len(e.Buckets) == buckets && e.Sum >= 0 {
			return i
		}
	}
	return -1
}

// exemplars are those of an entry, if they fit its buckets and name traces.
func (e entry) exemplars() []exemplar {
	if len(e.Exemplars) != len(e.Buckets) || slices.ContainsFunc(e.Exemplars, func(x exemplar) bool {
		raw, err := hex.DecodeString(x.Trace)
		return x.Trace != "" && (err != nil || len(raw) != 16)
	}) {
		return nil
	}
	return e.Exemplars
}
