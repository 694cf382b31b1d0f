package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/tracing"
	"github.com/posthorn/posthorn/worker"
)

// An order is the message of the shop.
type order struct {
	How string `json:"how"`

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (order) Kind() string { return "order" }

// A shop is a store with a worker, of which everything is counted.
type shop struct {
	t        *testing.T
	store    *store.Store
	tally    *metrics.Tally
	exporter *metrics.Exporter
	*posthorn.Dispatcher
}

// openShop runs a shop until the test ends.
func openShop(t *testing.T) *shop {
	t.Helper()
	known := metrics.Known{
		Kinds: []string{"order"}, Programs: []string{"orders"},
		Queues: map[string]string{"default": "async", "paused": "async"},
	}
	s := &shop{t: t, tally: metrics.NewTally(known)}
	var err error
	s.store, err = sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "s.db")+"?synchronous=normal",
		store.Options{Meter: s.tally})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	provider := sdk.NewTracerProvider() // samples all, keeps none
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	tr := tracing.New(provider)
	s.Dispatcher, err = posthorn.NewDispatcher(s.store, posthorn.DispatcherOptions{
		Middleware: []posthorn.SendMiddleware{tr.Send},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.exporter = start(t, metrics.Options{
		Token: token, Tally: s.tally, Known: known, Store: s.store, Pools: s.store.Uses, Version: "test", Dialect: "sqlite",
	})
	mux := posthorn.NewMux()
	mux.Use(tr.Handle)
	posthorn.HandleTx(mux, handleOrder)
	w, err := worker.New(s.store, mux, worker.Options{
		Observe: s.tally.Observe, Dispatcher: s.Dispatcher, Program: "orders", Limits: worker.Limits{Memory: 1 << 40},
		Retry: posthorn.RetryPolicy{MaxRetries: 1, Delay: time.Millisecond, Jitter: -1}, Heartbeat: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, w.Run)
	if _, err := s.store.Pause(t.Context(), store.Pause{Queue: "paused", Reason: "for the test"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// handleOrder ends as its order says.
func handleOrder(ctx context.Context, tx *posthorn.Tx, o order) error {
	switch o.How {
	case "fail":
		return errors.New("no")
	case "temporary": // the connection has to be destroyed
		_, err := tx.ExecContext(ctx, "create temp table if not exists left_over (id int)")
		return err
	}
	return nil
}

// busy lets something of every sort happen.
func (s *shop) busy(t *testing.T) {
	t.Helper()
	for _, how := range []string{"well", "well", "well", "fail", "temporary"} {
		secret := posthorn.WithHeader("authorization", witness.Secret)
		if _, err := s.Dispatch(context.Background(), order{How: how}, secret); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Dispatch(context.Background(), order{}, posthorn.WithQueue("paused")); err != nil {
		t.Error(err)
	}
	// What takes a dead process or a minute to happen.
	s.tally.Restarted("orders", "crash")
	s.tally.Crashed(1)
	s.tally.Observe(worker.Event{Stuck: true, Class: driver.ClassTimeout,
		Delivery: driver.Delivery{Envelope: driver.Envelope{Kind: "order"}}})
}

// ruleExpressions are those of the rules for Prometheus.
func ruleExpressions(t *testing.T) (exprs []string) {
	t.Helper()
	var doc struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	if err := yaml.Unmarshal(metrics.Rules(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, g := range doc.Groups {
		for _, r := range g.Rules {
			exprs = append(exprs, r.Expr)
		}
	}
	return exprs
}

func TestAStoreTellsItsMeterWhatItDoes(t *testing.T) {
	s := openShop(t)
	for i, how := range []string{"well", "temporary"} { // one by one: together, each runs again alone
		if _, err := s.Dispatch(t.Context(), order{How: how}); err != nil {
			t.Fatal(err)
		}
		await(t, s.exporter, fmt.Sprint(
			`posthorn_messages_total{class="done",kind="order",queue="default",transport="async",verdict="ack"} `, i+1))
	}
	text := await(t, s.exporter, `posthorn_dirty_connections_total{kind="order"} 1`)
	if number(text, "posthorn_group_commit_effects_sum") != 2 {
		t.Errorf("the group commits have other than 2 effects:\n%s", ours(text))
	}
	if number(text, `posthorn_pool_size{pool="writer"}`) != 1 ||
		number(text, `posthorn_pool_open_connections{pool="readers"}`) < 1 {
		t.Errorf("the pool is told wrongly:\n%s", ours(text))
	}
}

func TestACrashIsTold(t *testing.T) {
	s := openShop(t)
	ctx := context.Background()
	if _, err := s.Dispatch(ctx, order{}, posthorn.WithQueue("other")); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []time.Duration{5 * time.Millisecond, time.Hour} { // the second waits for the first's end
		c, err := s.store.Consume(ctx, driver.Subscription{Queues: []string{"other"}, Lease: lease, Worker: "dead"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if ds, err := c.Receive(ctx, 1); err != nil || len(ds) != 1 {
			t.Fatal(ds, err)
		}
	}
	if n := number(scrape(t, s.exporter), "posthorn_message_crashes_total"); n < 1 {
		t.Errorf("%v crashes are counted, want 1", n)
	}
	if toll, err := s.store.ReleaseDead(ctx, driver.Death{Worker: "dead"}); err != nil || toll == (driver.Toll{}) {
		t.Fatal(toll, err)
	}
	if n := number(scrape(t, s.exporter), "posthorn_message_crashes_total"); n < 2 {
		t.Errorf("%v crashes are counted, want 2", n)
	}
}

func TestDashboardsAreWhole(t *testing.T) {
	boards, err := metrics.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range boards {
		names = append(names, b.Name)
		checkBoard(t, b)
	}
	wanted := []string{"posthorn-overview", "posthorn-queue", "posthorn-workers", "posthorn-dead-letters"}
	if !slices.Equal(names, wanted) {
		t.Errorf("the dashboards are %v, want %v", names, wanted)
	}
}

// checkBoard looks at what Grafana would not forgive.
func checkBoard(t *testing.T, b metrics.Dashboard) {
	t.Helper()
	var doc struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(b.JSON, &doc); err != nil {
		t.Fatalf("%s: %v", b.Name, err)
	}
	cells, ids := map[[2]int]bool{}, map[int]bool{}
	for _, p := range doc.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("%s: panel %d %q has no id, title or query of its own", b.Name, p.ID, p.Title)
		}
		ids[p.ID] = true
		for i := range p.GridPos.W * p.GridPos.H {
			at := [2]int{p.GridPos.X + i%p.GridPos.W, p.GridPos.Y + i/p.GridPos.W}
			if cells[at] || at[0] >= 24 {
				t.Fatalf("%s: panel %q lies on another one, or beyond the grid", b.Name, p.Title)
			}
			cells[at] = true
		}
	}
	if doc.UID != b.Name {
		t.Errorf("%s has the uid %s", b.Name, doc.UID)
	}
}
