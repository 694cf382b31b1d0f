package monitor

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// greet opens the store if need be, and sees whether it answers and what time
// it is there. It takes at most half of the time.
func (g *Gatherer) greet(ctx context.Context, r *Reading) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.src.Within/2, errSlow)
	defer cancel()
	l := look{
		piece: ofStore,
		fail:  func(why string) func(*Reading) { return g.away(fmt.Errorf("%w: %s", driver.ErrUnavailable, why)) },
		read: func(ctx context.Context) func(*Reading) {
			st, err := g.opened(ctx)
			if err != nil {
				return g.away(err)
			}
			return g.hail(ctx, st)
		},
	}
	for _, set := range g.lookAll(ctx, []look{l}) {
		set(r)
	}
}

// away is a store that does not answer.
func (g *Gatherer) away(err error) func(*Reading) {
	why, try := g.src.Explain(err)
	return func(r *Reading) { r.Store = Is(Store{Why: why, Try: try}) }
}

// opened is the store; it is opened once. Only greet calls it, and never twice
// at a time.
func (g *Gatherer) opened(ctx context.Context) (*store.Store, error) {
	g.mu.Lock()
	st := g.store
	g.mu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := g.src.Open(ctx)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store = st
	return st, nil
}

// hail asks the store for the time.
func (g *Gatherer) hail(ctx context.Context, st *store.Store) func(*Reading) {
	if err := st.Ping(ctx); err != nil {
		return g.away(err)
	}
	before := time.Now()
	now, err := st.Now(ctx)
	after := time.Now()
	if err != nil {
		return g.away(err)
	}
	half := after.Sub(before) / 2
	skew := now.Sub(before.Add(half))
	return func(r *Reading) {
		g.skew, r.At = skew, now.Add(half)
		r.Clock = Is(Clock{Skew: skew, Doubt: half + time.Millisecond})
		r.Store = Is(Store{
			Reachable: true, Dialect: st.Dialect(), Durability: st.Capabilities().Durability, Latency: 2 * half,
		})
	}
}

// blank says of all that is in the store why it is not known.
func (g *Gatherer) blank(r *Reading) {
	const why = "the store does not answer"
	r.Clock = Missing[Clock](why)
	for _, l := range g.storeLooks() {
		l.fail(why)(r)
	}
}

// storeLooks are the parts that the store tells.
func (g *Gatherer) storeLooks() []look {
	return []look{
		lookAt(ofQueues, func(r *Reading) *Part[[]Queue] { return &r.Queues }, g.queues),
		lookAt(ofWorkers, func(r *Reading) *Part[[]Worker] { return &r.Workers }, g.workers),
		lookAt(ofHolds, func(r *Reading) *Part[[]Hold] { return &r.Holds }, g.holds),
		lookAt(ofLetters, func(r *Reading) *Part[map[string]int64] { return &r.Letters },
			func(ctx context.Context) (map[string]int64, error) { return g.store.NewLetters(ctx, NewWithin) }),
		lookAt(ofHeldBack, func(r *Reading) *Part[[]HeldBack] { return &r.HeldBack }, g.heldBack),
		lookAt(ofServer, func(r *Reading) *Part[Connections] { return &r.Server }, g.server),
		lookAt(ofAlerts, func(r *Reading) *Part[[]Undelivered] { return &r.Alerts },
			func(ctx context.Context) ([]Undelivered, error) {
				if g.src.Alerts == nil {
					return nil, errAbsent
				}
				return g.src.Alerts(ctx)
			}),
	}
}

// queues are the configured ones, and those that the store has besides.
func (g *Gatherer) queues(ctx context.Context) ([]Queue, error) {
	stats, err := g.store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	paused := map[string]string{}
	if g.src.Paused != nil {
		if paused, err = g.src.Paused(ctx); err != nil {
			return nil, err
		}
	}
	var out []Queue
	for _, name := range g.src.Queues {
		i := slices.IndexFunc(stats, func(s store.QueueStats) bool { return s.Queue == name.Name })
		s := store.QueueStats{Queue: name.Name}
		if i >= 0 {
			s = stats[i]
		}
		out = append(out, queueOf(s, name.Transport, paused))
	}
	for _, s := range stats {
		if !slices.ContainsFunc(g.src.Queues, func(n QueueName) bool { return n.Name == s.Queue }) {
			out = append(out, queueOf(s, "", paused))
		}
	}
	return out, nil
}

func queueOf(s store.QueueStats, transport string, paused map[string]string) Queue {
	q := Queue{
		Name: s.Queue, Transport: transport, Ready: s.Ready, Delayed: s.Delayed, InFlight: s.InFlight, Dead: s.Dead,
		Oldest: s.OldestAge, Suspects: s.Suspects,
	}
	q.PausedWhy, q.Paused = paused[s.Queue]
	return q
}

func (g *Gatherer) workers(ctx context.Context) ([]Worker, error) {
	records, _, err := g.store.Workers(ctx)
	out := make([]Worker, len(records))
	for i, w := range records {
		out[i] = Worker{WorkerRecord: w, MemoryLimit: cmp.Or(w.Limits.Memory, g.src.MemoryLimits[w.Program])}
	}
	return out, err
}

func (g *Gatherer) holds(ctx context.Context) ([]Hold, error) {
	holds, err := g.store.InHand(ctx)
	out := make([]Hold, len(holds))
	for i, h := range holds {
		out[i] = Hold{Worker: h.Worker, Queue: h.Queue, First: h.First, Last: h.Last}
	}
	return out, err
}

func (g *Gatherer) heldBack(ctx context.Context) ([]HeldBack, error) {
	kinds, err := g.store.HeldBack(ctx)
	out := make([]HeldBack, len(kinds))
	for i, k := range kinds {
		out[i] = HeldBack{Queue: k.Queue, Kind: k.Kind, Messages: k.Messages}
	}
	return out, err
}

func (g *Gatherer) server(ctx context.Context) (Connections, error) {
	load, err := g.store.Load(ctx)
	if err == nil && load.Most == 0 {
		err = errAbsent
	}
	return Connections{Used: load.Used, Most: load.Most}, err
}

// hostLooks are the parts that this host tells.
func (g *Gatherer) hostLooks() []look {
	return []look{
		lookAt(ofPrograms, func(r *Reading) *Part[[]Program] { return &r.Programs },
			func(ctx context.Context) ([]Program, error) {
				if g.src.Programs == nil {
					return nil, errAbsent
				}
				return g.src.Programs(ctx)
			}),
		lookAt(ofPools, func(r *Reading) *Part[[]Pool] { return &r.Pools }, g.pools),
		lookAt(ofDisks, func(r *Reading) *Part[[]Disk] { return &r.Disks }, g.disks),
	}
}

// pools are this process's own; one look at a time reads them.
func (g *Gatherer) pools(context.Context) ([]Pool, error) {
	g.mu.Lock()
	st := g.store
	g.mu.Unlock()
	if st == nil {
		return nil, errAbsent
	}
	var out []Pool
	for name, s := range st.Pools() {
		p := Pool{Name: name, InUse: s.InUse, Limit: s.MaxOpenConnections}
		if before, seen := g.waits[name]; seen {
			p.Waits = s.WaitCount - before
		}
		g.waits[name] = s.WaitCount
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// disks are those of the store's file and of the logs. Where the store is away,
// its file is the one that was known before.
func (g *Gatherer) disks(ctx context.Context) ([]Disk, error) {
	g.mu.Lock()
	st, file := g.store, g.file
	g.mu.Unlock()
	if st != nil && file == "" {
		path, err := st.File(ctx)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		g.file = path
		g.mu.Unlock()
		file = path
	}
	var out []Disk
	for _, d := range []Disk{{For: "store", Path: file}, {For: "logs", Path: g.src.LogDir}} {
		if d.Path == "" {
			continue
		}
		if d.For == "store" {
			d.Path = filepath.Dir(d.Path)
		}
		free, err := freeSpace(d.Path)
		if err != nil {
			return nil, err
		}
		d.Free = free
		out = append(out, d)
	}
	return out, nil
}
