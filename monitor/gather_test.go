package monitor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/monitor"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

func TestAHealthyStoreIsKnownInAllItsParts(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *scene) {
		s.worker(nil)
		s.send(driver.Envelope{}, driver.Envelope{Delay: time.Hour})
		c := s.consumer()
		d := s.receive(c)
		r := s.gather.Gather(t.Context())
		v := s.engine.Glance(monitor.State{}, r)
		for _, check := range v.Checks {
			if check.Level != monitor.OK && check.Name != monitor.RuleDisk {
				t.Errorf("%s is %s: %s", check.Name, check.Level, check.Text)
			}
		}
		if q := r.Queues.Value; len(q) != 1 || q[0].InFlight != 1 || q[0].Delayed != 1 || q[0].Transport != "async" {
			t.Errorf("queues are %+v", q)
		}
		if h := r.Holds.Value; len(h) != 1 || h[0].Worker != "w1" || h[0].Queue != "mail" || h[0].First.IsZero() {
			t.Errorf("claims are %+v", h)
		}
		hasServer := s.store.Dialect() != "sqlite"
		load := r.Server.Value
		if (r.Server.Knowledge == monitor.Known) != hasServer || hasServer && (load.Used < 1 || load.Most < 2) {
			t.Errorf("the server's connections are %+v", r.Server)
		}
		if disks := r.Disks.Value; !hasServer && (len(disks) != 1 || disks[0].Free == 0) {
			t.Errorf("disks are %+v", disks)
		}
		s.settle(c, driver.Settlement{Delivery: d})
		if r = s.gather.Gather(t.Context()); len(r.Holds.Value) != 0 || r.Elapsed <= 0 {
			t.Errorf("after the acknowledgement: claims %+v, elapsed %s", r.Holds.Value, r.Elapsed)
		}
	})
}

func TestFaultsOfARealStoreAreSeenAndTheirRepair(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *scene) {
		s.wants(monitor.RuleWorkers, monitor.Warning)
		s.send(driver.Envelope{ID: "one"})
		s.wants(monitor.RuleWorkers, monitor.Critical)
		s.rule(monitor.RuleProgress, func(r *monitor.Rule) { r.Critical = 0 })
		s.rule(monitor.RuleOldest, func(r *monitor.Rule) { r.Warning = 0 })
		time.Sleep(20 * time.Millisecond) // so that it has been due for longer than nothing
		s.worker(func(w *driver.WorkerRecord) { w.InFlight = 8 })
		s.wants(monitor.RuleWorkers, monitor.OK)
		s.wants(monitor.RuleProgress, monitor.OK)
		s.worker(nil)
		s.wants(monitor.RuleProgress, monitor.Critical)
		s.wants(monitor.RuleOldest, monitor.Warning)
		s.src.Paused = func(context.Context) (map[string]string, error) { return map[string]string{"mail": "a test"}, nil }
		s.rig()
		s.wants(monitor.RulePaused, monitor.Warning)
		s.wants(monitor.RuleProgress, monitor.OK)
		s.src.Paused = nil
		s.rig()

		c := s.consumer()
		s.rule(monitor.RuleStuck, func(r *monitor.Rule) { r.Critical = 0.01 })
		d := s.receive(c)
		time.Sleep(20 * time.Millisecond)
		s.wants(monitor.RuleStuck, monitor.Critical)
		s.wants(monitor.RuleProgress, monitor.OK)
		s.rule(monitor.RuleFailed, func(r *monitor.Rule) { r.Critical = 0 })
		s.rule(monitor.RuleNewFailed, func(r *monitor.Rule) { r.Critical = 0 })
		s.wants(monitor.RuleFailed, monitor.OK)
		s.wants(monitor.RuleNewFailed, monitor.OK)
		s.settle(c, driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected})
		s.wants(monitor.RuleStuck, monitor.OK)
		s.wants(monitor.RuleFailed, monitor.Critical)
		s.wants(monitor.RuleNewFailed, monitor.Critical)
		s.exec("update posthorn_letter set died_at = died_at - 3600000")
		s.wants(monitor.RuleNewFailed, monitor.OK)
	})
}

func TestAKindWithoutAHandlerIsSeen(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *scene) {
		s.send(driver.Envelope{})
		c := s.consumer()
		s.worker(func(w *driver.WorkerRecord) { w.Kinds = []string{"other"} })
		s.settle(c, driver.Settlement{Delivery: s.receive(c), Verdict: driver.Release, Delay: time.Minute})
		s.wants(monitor.RuleHandlers, monitor.Critical)
		s.worker(func(w *driver.WorkerRecord) { w.ID, w.Kinds = "w2", []string{"greet"} })
		s.wants(monitor.RuleHandlers, monitor.OK)
	})
}

func TestWorkersThatDieOrGrowOrFailAreSeen(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, s *scene) {
		s.src.MemoryLimits = map[string]int64{"shop": 512 << 20}
		s.rig()
		s.worker(nil)
		s.wants(monitor.RuleMemory, monitor.OK)
		s.worker(func(w *driver.WorkerRecord) { w.RSS = 600 << 20 })
		s.wants(monitor.RuleMemory, monitor.Critical)
		for _, id := range []string{"d1", "d2", "d3", "d4", "d5", "d6"} {
			s.worker(func(w *driver.WorkerRecord) { w.ID = id })
		}
		s.wants(monitor.RuleCrashLoop, monitor.OK)
		s.exec("update posthorn_worker set seen_at = seen_at - 60000 where id like 'd%'")
		s.wants(monitor.RuleCrashLoop, monitor.Critical)

		state, _ := s.engine.Step(monitor.State{}, s.gather.Gather(t.Context()))
		s.worker(func(w *driver.WorkerRecord) { w.Handled, w.Failed = 40, 40 })
		s.glance(state, monitor.RuleFailureRate, monitor.Critical)
	})
}

func TestAServerWithoutConnectionsLeftIsSeen(t *testing.T) {
	t.Parallel()
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true, Settings: map[string]string{
		"max_connections": "30", "superuser_reserved_connections": "0",
	}})
	s := newScene(t, postgres.Open, server.DSN("postgres", ""))
	s.wants(monitor.RuleConnections, monitor.OK)
	db, err := server.Open(server.Superuser(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for { // until the server is full
		if _, err := db.Conn(t.Context()); err != nil {
			break
		}
	}
	s.wants(monitor.RuleConnections, monitor.Critical)
	if err := db.Close(); err != nil { // waits for no one: the connections are in use
		t.Fatal(err)
	}
}

func TestAStoreThatHangsIsSaidSoInTimeAndComesBack(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	link := proxy.New(t, proxy.PostgreSQL, d.Server.Addr())
	s := newScene(t, postgres.Open, d.Server.DSNAt(link.Addr(), d.Server.Superuser(), d.Name))
	s.src.Within = 8 * time.Second
	s.rig()
	s.wants(monitor.RuleStore, monitor.OK)
	cut := func(on bool) { link.Refuse(on); link.Cut() }
	for _, fault := range []func(on bool){link.Freeze, cut} {
		fault(true)
		r := s.wants(monitor.RuleStore, monitor.Critical)
		if r.Queues.Knowledge != monitor.NotKnown || r.At.IsZero() {
			t.Errorf("the reading knows of queues: %+v", r.Queues)
		}
		fault(false)
		// Until the pool has new connections. While what hung has not returned, a reading takes no time.
		for until := time.Now().Add(time.Minute); !r.Store.Value.Reachable && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
			r = s.gather.Gather(t.Context())
		}
		s.wants(monitor.RuleStore, monitor.OK)
	}
}

func TestAPartThatHangsStopsNoOther(t *testing.T) {
	t.Parallel()
	s := newScene(t, sqlite.Open, "sqlite:"+t.TempDir()+"/store.db")
	s.src.Within = 4 * time.Second
	release := make(chan struct{})
	asked := 0
	s.src.Programs = func(context.Context) ([]monitor.Program, error) { // it does not even heed its context
		asked++
		<-release
		return []monitor.Program{{Name: "shop"}}, nil
	}
	s.src.Paused = func(context.Context) (map[string]string, error) { return nil, errors.New("no right to read it") }
	s.rig()
	for range 3 {
		r := s.gather.Gather(t.Context())
		if r.Programs.Knowledge != monitor.NotKnown || r.Programs.Why == "" {
			t.Errorf("programs: %+v", r.Programs)
		}
		if r.Queues.Knowledge != monitor.NotKnown || !strings.Contains(r.Queues.Why, "no right") {
			t.Errorf("queues: %+v", r.Queues)
		}
		if r.Workers.Knowledge != monitor.Known || r.Disks.Knowledge != monitor.Known {
			t.Errorf("workers %+v, disks %+v", r.Workers, r.Disks)
		}
	}
	close(release)
	if err := s.gather.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.gather.Gather(t.Context()); asked != 2 || r.Programs.Knowledge != monitor.Known {
		t.Errorf("asked %d times, want 2; programs: %+v", asked, r.Programs)
	}
}

func TestAMonitorMayBeStartedBeforeItsStore(t *testing.T) {
	t.Parallel()
	var st *store.Store
	s := newScene(t, sqlite.Open, "sqlite:"+t.TempDir()+"/store.db")
	s.src.Open = func(context.Context) (*store.Store, error) {
		if st == nil {
			return nil, driver.ErrUnavailable
		}
		return st, nil
	}
	s.src.Explain = func(error) (what, try string) { return "it is not there yet", "look again" }
	s.rig()
	r := s.wants(monitor.RuleStore, monitor.Critical)
	if r.Store.Value.Why != "it is not there yet" || r.Store.Value.Try != "look again" {
		t.Errorf("the store is %+v", r.Store.Value)
	}
	st = s.store
	s.wants(monitor.RuleStore, monitor.OK)
}
