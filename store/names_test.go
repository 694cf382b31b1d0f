package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { os.Exit(servers.Main(m).Run()) }

func TestNamesAreWrittenIntoStatements(t *testing.T) {
	t.Parallel()
	const stmt = `create index posthorn_message_wake on posthorn_message (wake_at); -- posthorn_other xposthorn_meta`
	for names, want := range map[store.Names]string{
		{}:             stmt,
		{Prefix: "q_"}: `create index q_message_wake on q_message (wake_at); -- posthorn_other xposthorn_meta`,
		{Schema: "jobs"}: `create index posthorn_message_wake on "jobs".posthorn_message (wake_at); ` +
			`-- posthorn_other xposthorn_meta`,
	} {
		if got := names.In(stmt); got != want {
			t.Errorf("%+v: %s", names, got)
		}
	}
	n := store.Names{Schema: "jobs", Prefix: "q_"}
	if !n.Own("Q_Letter") || !n.Own("q_message_wake") || n.Own("q_orders") || n.Own("posthorn_letter") ||
		!(store.Names{}).Own("posthorn_meta") {
		t.Error("Own takes other tables for Posthorn's, or misses one")
	}
}

func TestNamesThatAServerWouldFoldOrQuoteAreRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "Jobs", "1st", `x"; drop table y`, "a-b", "é", strings.Repeat("a", 33), "a b"} {
		for _, q := range []url.Values{{"schema": {bad}}, {"prefix": {bad}}} {
			if n, err := store.TakeNames(q); !errors.Is(err, store.ErrDSN) {
				t.Errorf("%v gives %+v, %v", q, n, err)
			}
		}
	}
}

// place is where several stores fit into one database.
type place struct {
	open  func(ctx context.Context, dsn string, o store.Options) (*store.Store, error)
	dsn   string // of the one with the default names
	names string // the parameters of another one
}

func places(t *testing.T) map[string]place {
	maria := servers.MariaDB(t)
	return map[string]place{
		"SQLite":     {sqlite.Open, "sqlite:" + filepath.Join(t.TempDir(), "two.db"), "prefix=q_"},
		"PostgreSQL": {postgres.Open, servers.PostgreSQL(t).DSN(), "schema=jobs&prefix=q_"},
		"MariaDB":    {mysql.Open, "mysql://root@" + maria.Server.Addr() + "/" + maria.Name, "prefix=q_"},
	}
}

func (p place) store(t *testing.T, query string) *store.Store {
	t.Helper()
	dsn := p.dsn
	if query != "" {
		dsn += map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")] + query
	}
	s, err := p.open(t.Context(), dsn, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Each statement of the store runs in one that has names of its own, beside one
// with the default names, which sees nothing of it.
func TestTwoStoresInOneDatabaseKnowNothingOfEachOther(t *testing.T) {
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, named := p.store(t, ""), p.store(t, p.names)
			if plain.ID() == named.ID() {
				t.Error("they share one id")
			}
			walk(t, named)
			try(t, plain.Send(t.Context(), message("mine")))
			if got := ids(receive(t, consume(t, plain))); !slices.Equal(got, []string{"mine"}) {
				t.Errorf("the one with the default names received %v", got)
			}
			forbidden(t, named)
			healthy(t, named)
		})
	}
}

// healthy asks doctor.
func healthy(t *testing.T, s *store.Store) {
	t.Helper()
	findings, err := s.Examine(t.Context())
	try(t, err)
	for _, f := range findings {
		if f.Level == store.LevelError {
			t.Errorf("doctor: %+v", f)
		}
	}
}

func message(id string) driver.Envelope {
	return driver.Envelope{ID: id, Kind: "k", Queue: "q", Body: []byte("b"), SentAt: time.Now()}
}

func consume(t *testing.T, s *store.Store) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t *testing.T, c driver.Consumer) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ds, err := c.Receive(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// try is a test's way to say that something must not fail.
func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// walk takes messages every way there is.
func walk(t *testing.T, s *store.Store) {
	t.Helper()
	ctx, c := t.Context(), consume(t, s)
	try(t, s.Send(ctx, message("done"), message("late"), message("dead"), message("effect")))
	ds := receive(t, c)
	slices.SortFunc(ds, func(a, b driver.Delivery) int { return strings.Compare(a.ID, b.ID) }) // dead, done, effect, late
	try(t, c.Extend(ctx, ds...))
	attempt := &driver.Attempt{Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassFailure, Error: "no"}
	try(t, c.Settle(ctx,
		driver.Settlement{Delivery: ds[0], Verdict: driver.Bury, Reason: driver.ReasonRejected, Attempt: attempt},
		driver.Settlement{Delivery: ds[1]},
		driver.Settlement{Delivery: ds[3], Verdict: driver.Retry, Delay: time.Hour, Attempt: attempt}))
	send := func(ctx context.Context, tx driver.Tx) error { return tx.Send(ctx, message("sent")) }
	errs := s.Transact(ctx, []driver.Unit{{Delivery: ds[2], Context: ctx, Effect: send}})
	try(t, errs[0])
	inTx(t, s, func(tx *sql.Tx) error { return s.SendTx(ctx, tx, message("in-tx")) })
	letters, err := s.Letters(ctx, store.LetterFilter{})
	try(t, err)
	if len(letters) != 1 || letters[0].ID != "dead" {
		t.Fatalf("letters %v", letters)
	}
	_, err = s.RetryLetters(ctx, letters[0].Seq)
	try(t, err)
	if got := ids(receive(t, c)); !slices.Equal(got, []string{"dead", "in-tx", "sent"}) {
		t.Errorf("received %v", got)
	}
	if p, err := s.Find(ctx, "late"); err != nil || p == nil || p.Place != store.PlaceDelayed {
		t.Errorf("late is at %+v, %v", p, err)
	}
	registry(t, s)
}

// registry walks the statements for workers and operators.
func registry(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Heartbeat(ctx, driver.WorkerRecord{ID: "w", Host: "h", State: "running", Started: time.Now()})
	try(t, err)
	ws, _, err := s.Workers(ctx)
	try(t, err)
	if ordered := order(t, s); len(ws) != 1 || len(ordered) != 1 {
		t.Errorf("%d workers, %d were told, want 1 of each", len(ws), len(ordered))
	}
	quarantine(t, s)
	control(t, s)
	_, err = s.Stats(ctx)
	try(t, err)
	try(t, s.Maintain(ctx, time.Hour))
	try(t, s.Deregister(ctx, "w"))
}

func inTx(t *testing.T, s *store.Store, fn func(*sql.Tx) error) {
	t.Helper()
	tx, err := s.DB().BeginTx(t.Context(), nil)
	try(t, err)
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		t.Fatal(err)
	}
	try(t, tx.Commit())
}

func ids(ds []driver.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.ID)
	}
	slices.Sort(out)
	return out
}

// forbidden checks that a handler can't change the tables, whatever they are
// called.
func forbidden(t *testing.T, s *store.Store) {
	t.Helper()
	c := consume(t, s)
	try(t, s.Send(t.Context(), message("bad")))
	ds := receive(t, c)
	errs := s.Transact(t.Context(), []driver.Unit{{Delivery: ds[0], Context: t.Context(),
		Effect: func(ctx context.Context, tx driver.Tx) error {
			_, err := tx.ExecContext(ctx, "delete from "+s.Names.Table("message"))
			if err == nil {
				t.Error("a handler deleted messages")
			}
			return err
		}}})
	if errs[0] == nil {
		t.Error("it was acknowledged")
	}
}
