package monitor_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/monitor"
)

// noon is when simulations begin.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// healthy is a reading of an installation in which all is well: two queues, two
// workers and a supervisor.
func healthy(at time.Time) monitor.Reading {
	handled := int64(at.Sub(noon) / time.Second * 10)
	worker := func(id string) monitor.Worker {
		return monitor.Worker{MemoryLimit: 512 << 20, WorkerRecord: driver.WorkerRecord{
			ID: id, Host: "a", Program: "shop", State: "running", Queues: []string{"mail", "slow"},
			Kinds: []string{"greet", "bill"}, Seen: at.Add(-2 * time.Second), Handled: handled, Failed: handled / 20,
			RSS: 100 << 20, InFlight: 3, Concurrency: 8,
		}}
	}
	return monitor.Reading{
		At: at, Elapsed: 30 * time.Second, Host: "a",
		Store:   monitor.Is(monitor.Store{Reachable: true, Dialect: "sqlite", Durability: driver.PowerSafe}),
		Clock:   monitor.Is(monitor.Clock{Skew: 3 * time.Millisecond, Doubt: time.Millisecond}),
		Queues:  monitor.Is([]monitor.Queue{{Name: "mail", Transport: "mail"}, {Name: "slow", Transport: "slow"}}),
		Letters: monitor.Is(map[string]int64{}), HeldBack: monitor.Is([]monitor.HeldBack{}),
		Workers: monitor.Is([]monitor.Worker{worker("w1"), worker("w2")}), Holds: monitor.Is([]monitor.Hold{}),
		Programs: monitor.Is([]monitor.Program{{Name: "shop", Want: 2, Running: 2}}),
		Server:   monitor.Is(monitor.Connections{Used: 20, Most: 100}),
		Pools:    monitor.Is([]monitor.Pool{{Name: "control", InUse: 1, Limit: 5}}),
		Disks:    monitor.Is([]monitor.Disk{{For: "store", Path: "/var/lib", Free: 100 << 30}}),
		Alerts:   monitor.Is([]monitor.Undelivered{}),
	}
}

// queue is the queue of a reading with a name.
func queue(r *monitor.Reading, name string) *monitor.Queue {
	for i := range r.Queues.Value {
		if r.Queues.Value[i].Name == name {
			return &r.Queues.Value[i]
		}
	}
	panic("no queue " + name)
}

// noisy is a healthy reading with what a day brings: backlogs that are worked
// off, recycled workers, failures, a dead letter now and then.
func noisy(at time.Time, rnd *rand.Rand) monitor.Reading {
	r := healthy(at)
	for i := range r.Queues.Value {
		q := &r.Queues.Value[i]
		q.Ready, q.Delayed, q.Dead = rnd.Int64N(5000), rnd.Int64N(300), 7
		if q.Ready > 0 {
			q.Oldest = time.Duration(rnd.Int64N(int64(40 * time.Second)))
		}
	}
	for i := range r.Workers.Value {
		w := &r.Workers.Value[i]
		w.InFlight = rnd.IntN(w.Concurrency + 3)
		w.RSS = 50<<20 + rnd.Int64N(400<<20)
		w.Seen = at.Add(-time.Duration(rnd.Int64N(int64(6 * time.Second))))
		if rnd.IntN(20) == 0 { // recycled
			w.ID, w.Handled, w.Failed = w.ID+at.String(), 0, 0
		}
		r.Holds.Value = append(r.Holds.Value, monitor.Hold{
			Worker: w.ID, Queue: "mail", First: at.Add(-time.Duration(rnd.Int64N(int64(time.Minute)))), Last: at,
		})
	}
	r.Letters.Value["mail"] = rnd.Int64N(4)
	r.HeldBack.Value = []monitor.HeldBack{{Queue: "mail", Kind: "greet", Messages: rnd.Int64N(30)}}
	r.Programs.Value[0].Restarts = rnd.IntN(2)
	r.Server.Value.Used = 20 + rnd.Int64N(40)
	r.Pools.Value[0].Waits = rnd.Int64N(20)
	r.Clock.Value.Skew = time.Duration(rnd.Int64N(int64(500 * time.Millisecond)))
	return r
}

// A film is a simulation: readings in a row, and what they changed.
type film struct {
	t       *testing.T
	engine  monitor.Engine
	state   monitor.State
	at      time.Time
	changes []monitor.Transition
}

func newFilm(t *testing.T) *film {
	t.Helper()
	return &film{t: t, engine: monitor.Engine{Rules: monitor.Pack(), Budget: monitor.Budget{Off: true}}, at: noon}
}

// play takes a reading every half minute for a while. The state goes through
// its document each time, as in monitor --once.
func (f *film) play(d time.Duration, scene func(*monitor.Reading)) {
	f.t.Helper()
	for end := f.at.Add(d); f.at.Before(end); {
		f.at = f.at.Add(30 * time.Second)
		r := healthy(f.at)
		scene(&r)
		f.show(r)
	}
}

func (f *film) show(r monitor.Reading) []monitor.Transition {
	f.t.Helper()
	body, err := f.state.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	if f.state, err = monitor.Decode(body); err != nil {
		f.t.Fatal(err)
	}
	var changes []monitor.Transition
	f.state, changes = f.engine.Step(f.state, r)
	f.changes = append(f.changes, changes...)
	return changes
}

func well(*monitor.Reading) {}
