package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// sendMany sends messages to queue q.
func sendMany(t *testing.T, s *store.Store, name string, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		envs := make([]driver.Envelope, min(1000, n-from))
		for i := range envs {
			envs[i] = driver.Envelope{ID: fmt.Sprintf("%s-%d", name, from+i), Kind: "k", Queue: "q", Body: []byte("x")}
		}
		if err := s.Send(t.Context(), envs...); err != nil {
			t.Fatal(err)
		}
	}
}

// handleAll receives and acknowledges n messages.
func handleAll(t *testing.T, c driver.Consumer, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n > 0 {
		ds, err := c.Receive(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		ss := make([]driver.Settlement, len(ds))
		for i, d := range ds {
			ss[i].Delivery = d
		}
		if err := c.Settle(ctx, ss...); err != nil {
			t.Fatal(err)
		}
		n -= len(ds)
	}
}

// readBy counts the entries of the ready index that a store has read: its server
// processes tell when they have ended.
func readBy(t *testing.T, db *sql.DB, work func()) (n int64) {
	t.Helper()
	count := func() (n int64) {
		err := db.QueryRowContext(t.Context(), `select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes
			where indexrelname = 'posthorn_message_ready' and (select count(*) from pg_stat_activity
			  where datname = current_database() and state is not null) < 3`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	work()
	for deadline := time.Now().Add(patience); n <= 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		n = count() - before
	}
	return n
}

// A snapshot that another session holds keeps the dead rows of all messages that
// were handled since. Claims do not walk over them: they would read a million
// entries here.
func TestClaimsDoNotWalkOverDeadRowsUnderAHeldSnapshot(t *testing.T) {
	t.Parallel()
	d := servers.PostgreSQL(t)
	setUp := openStore(t, d.DSN(), store.Options{})
	if err := setUp.Close(); err != nil {
		t.Fatal(err)
	}
	holder, err := d.Open(t).BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	var there int
	if err := holder.QueryRowContext(t.Context(), "select count(*) from posthorn_message").Scan(&there); err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	read := readBy(t, d.Open(t), func() {
		s := openStore(t, d.DSN(), store.Options{Poll: patience})
		sendMany(t, s, "m", n)
		c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: patience, Worker: "w"})
		if err != nil {
			t.Fatal(err)
		}
		handleAll(t, c, n)
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d messages read %d entries of the index", n, read)
	if read < n || read > 40*n {
		t.Errorf("%d messages read %d entries of the index, want %d to %d: claims walk over dead rows", n, read, n, 40*n)
	}
}

// prepared is a session that has run some statements, and plans without knowing the arguments.
func prepared(t *testing.T, s *store.Store, stmts ...string) *sql.Conn {
	t.Helper()
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, stmt := range append([]string{`set plan_cache_mode = force_generic_plan`}, stmts...) {
		if _, err := conn.ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	return conn
}

// planOf is how the server runs a prepared statement.
func planOf(t *testing.T, conn *sql.Conn, call string) (plan string) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), `explain (format json) execute `+call).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	return plan
}

// A survey reads the part of the index that it looks at, in its order, whatever the planner knows of the table.
func TestASurveyWalksTheIndexOfReadyMessages(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	conn := prepared(t, s, `prepare survey as `+s.Rebind(s.SQL.ReadyBetween))
	for _, what := range []string{"a fresh table", "a full table"} {
		if what == "a full table" {
			sendMany(t, s, "m", 5000)
			if _, err := conn.ExecContext(t.Context(), `analyze posthorn_message`); err != nil {
				t.Fatal(err)
			}
		}
		plan := planOf(t, conn, `survey('q', 0, 1, 2)`)
		cond := regexp.MustCompile(`"Index Cond": "[^"]*queue[^"]*priority[^"]*due_at >=[^"]*due_at <`)
		if !strings.Contains(plan, `"posthorn_message_ready"`) || !cond.MatchString(plan) || strings.Contains(plan, "Sort") {
			t.Errorf("%s: %s", what, plan)
		}
	}
}

// Who gives a message, and who was given some, read no offers but those that stand, whatever a held snapshot keeps of
// others, and messages by their keys.
func TestOffersAreFoundByTheirEnd(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	conn := prepared(t, s, `prepare give as `+postgres.InsertHeld(), `prepare given as `+s.Rebind(s.SQL.Offered))
	const message = `"posthorn_message_pkey"[^{]*"Index Cond": "\(seq = g.seq\)"`
	for call, conds := range map[string][]string{
		`give('i', 'k', 'q', 0::smallint, 0, null, 'b', 'h')`: {`"Index Cond": "[^"]*queue[^"]*until_ms > m.now`},
		`given('q', 1, 'i')`: {`"Index Cond": "[^"]*queue[^"]*until_ms = [^"]*id\)`, message},
	} {
		plan := planOf(t, conn, call)
		for _, cond := range conds {
			if !regexp.MustCompile(cond).MatchString(plan) {
				t.Errorf("%s: no %s in %s", call, cond, plan)
			}
		}
	}
}

// A transaction that has begun to write is not among those of which the store is told that
// they have not, whether one has ended since or not.
func TestWhichTransactionsHaveBegun(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	for range 50 {
		tx, err := s.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var mine, now, oldest, next int64
		var first sql.NullInt64
		err = tx.QueryRowContext(t.Context(), "select pg_current_xact_id()::text::bigint").Scan(&mine)
		if err == nil {
			row := s.DB().QueryRowContext(t.Context(), s.Rebind(s.SQL.Horizon), "returned/", "q")
			err = row.Scan(&now, &oldest, &next, &first)
		}
		if err := errors.Join(err, tx.Rollback()); err != nil {
			t.Fatal(err)
		}
		if oldest > mine || next <= mine || first.Valid {
			t.Fatalf("transaction %d: the oldest is %d, the next one %d; returned %v", mine, oldest, next, first)
		}
	}
}
