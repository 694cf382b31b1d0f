package monitor_test

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/monitor"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

// An opener opens a store of one dialect.
type opener func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)

// onEachStore runs a test on a store of each dialect.
func onEachStore(t *testing.T, test func(t *testing.T, s *scene)) {
	t.Helper()
	for name, at := range map[string]func(t *testing.T) (opener, string){
		"sqlite": func(t *testing.T) (opener, string) {
			return sqlite.Open, "sqlite:" + filepath.Join(t.TempDir(), "store.db")
		},
		"postgres": func(t *testing.T) (opener, string) { return postgres.Open, servers.PostgreSQL(t).DSN() },
		"mariadb": func(t *testing.T) (opener, string) {
			d := servers.MariaDB(t)
			return mysql.Open, fmt.Sprintf("mysql://%s@%s/%s", d.Server.Superuser(), d.Server.Addr(), d.Name)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, dsn := at(t)
			test(t, newScene(t, open, dsn))
		})
	}
}

// A scene is a real store with a gatherer.
type scene struct {
	t      *testing.T
	store  *store.Store
	src    monitor.Sources
	gather *monitor.Gatherer
	engine monitor.Engine
}

func newScene(t *testing.T, open opener, dsn string) *scene {
	t.Helper()
	st, err := open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, store: st, engine: monitor.Engine{Rules: monitor.Pack()}, src: monitor.Sources{
		Open: func(context.Context) (*store.Store, error) { return st, nil }, Host: "here",
		Queues: []monitor.QueueName{{Name: "mail", Transport: "async"}},
	}}
	s.rig()
	t.Cleanup(func() {
		if err := s.gather.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// rig makes a gatherer of the sources.
func (s *scene) rig() { s.gather = monitor.NewGatherer(s.src) }

// rule changes a rule.
func (s *scene) rule(name string, change func(*monitor.Rule)) {
	i := slices.IndexFunc(s.engine.Rules, func(r monitor.Rule) bool { return r.Name == name })
	change(&s.engine.Rules[i])
}

// wants takes a reading, and checks what one rule says of it at once.
func (s *scene) wants(name string, level monitor.Level) monitor.Reading {
	s.t.Helper()
	return s.glance(monitor.State{}, name, level)
}

// glance is wants with a history.
func (s *scene) glance(state monitor.State, name string, level monitor.Level) monitor.Reading {
	s.t.Helper()
	r := s.gather.Gather(s.t.Context())
	for _, c := range s.engine.Glance(state, r).Checks {
		if c.Name == name && c.Level != level {
			s.t.Errorf("%s is %s: %s; want %s", name, c.Level, c.Text, level)
		}
	}
	return r
}

func (s *scene) send(envs ...driver.Envelope) {
	s.t.Helper()
	for i := range envs {
		envs[i].Kind, envs[i].Body = "greet", []byte("{}")
		envs[i].ID = cmp.Or(envs[i].ID, fmt.Sprint("m", i))
		if envs[i].Queue == "" {
			envs[i].Queue = "mail"
		}
	}
	if err := s.store.Send(s.t.Context(), envs...); err != nil {
		s.t.Fatal(err)
	}
}

// worker enters a worker into the registry.
func (s *scene) worker(change func(*driver.WorkerRecord)) driver.WorkerRecord {
	s.t.Helper()
	w := driver.WorkerRecord{
		ID: "w1", Host: "here", Program: "shop", State: "running", Queues: []string{"mail"}, Kinds: []string{"greet"},
		Started: time.Now(), Concurrency: 8, RSS: 1 << 20,
	}
	if change != nil {
		change(&w)
	}
	if _, err := s.store.Heartbeat(s.t.Context(), w); err != nil {
		s.t.Fatal(err)
	}
	return w
}

// consumer claims for worker w1 until the end of the test.
func (s *scene) consumer() driver.Consumer {
	s.t.Helper()
	sub := driver.Subscription{Queues: []string{"mail"}, Lease: time.Minute, Worker: "w1"}
	c, err := s.store.Consume(s.t.Context(), sub)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *scene) receive(c driver.Consumer) driver.Delivery {
	s.t.Helper()
	ds, err := c.Receive(s.t.Context(), 1)
	if err != nil {
		s.t.Fatal(err)
	}
	return ds[0]
}

func (s *scene) settle(c driver.Consumer, settlements ...driver.Settlement) {
	s.t.Helper()
	if err := c.Settle(s.t.Context(), settlements...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) exec(stmt string) {
	s.t.Helper()
	if _, err := s.store.DB().ExecContext(s.t.Context(), stmt); err != nil {
		s.t.Fatal(err)
	}
}
