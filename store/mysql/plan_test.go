package mysql_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A step is one line of a plan.
type step struct{ table, access, key, extra string }

// plan asks the server how it would run a statement.
func (r *rig) plan(stmt string, args ...any) (steps []step) {
	r.Helper()
	found, err := r.store.DB().QueryContext(r.soon(), "explain "+stmt, args...)
	if err != nil {
		r.Fatalf("explain %s: %v", stmt, err)
	}
	defer func() { _ = found.Close() }()
	columns, err := found.Columns()
	if err != nil {
		r.Fatal(err)
	}
	for found.Next() {
		row, into := map[string]*sql.NullString{}, make([]any, len(columns))
		for i, name := range columns {
			row[name] = new(sql.NullString)
			into[i] = row[name]
		}
		if err := found.Scan(into...); err != nil {
			r.Fatal(err)
		}
		s := step{table: row["table"].String, access: row["type"].String, key: row["key"].String, extra: row["Extra"].String}
		steps = append(steps, s)
	}
	if err := found.Err(); err != nil {
		r.Fatal(err)
	}
	return steps
}

// isMessages reports whether a line of a plan is about the messages, and not about a list of
// sequences or of claims.
func isMessages(table string) bool { return table == "posthorn_message" || table == "m" }

func TestHotStatementsWalkAnIndex(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`insert into posthorn_message (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, body)
		select concat('x', seq), 'k', concat('q', seq % 3), seq % 5, seq % 3, seq, seq, 1, 0, '' from seq_1_to_9000`,
		`analyze table posthorn_message`)
	s := r.store.SQL
	for name, p := range map[string]struct {
		stmt string
		args []any
	}{
		"ready": {s.Ready, []any{"q1"}}, "claim": {s.Claim, []any{"q1", 100}},
		"later": {s.Later, []any{5000}}, "expired": {s.LeaseExpired, []any{`["t"]`, 5000}},
		"lease is due": {s.LeaseIsDue, []any{5000}}, "leases due": {s.LeasesDue, []any{5000, 50}},
		"lock expired":            {s.LeaseLock + " (?, ?)" + s.SkipLocked, []any{5000, 5, 6}},
		"what is left of a claim": {s.LeaseLeft, []any{`["t"]`}},
		"next wake":               {s.NextWake, nil}, "ack": {s.Ack, []any{5, "t"}}, "extend": {s.Extend, []any{1, 5, "t"}},
		"promote": {s.Promote, []any{5, 1}}, "held": {s.Held, []any{5, "t"}}, "find": {s.Find, []any{"x5"}},
		"mark": {s.ClaimMark + " (?, ?)", []any{"t", "w", 1, 5, 6}}, "history": {s.Attempts, []any{"x5"}},
		"what the dead hold": {s.Holds, []any{"w"}},
		"lock it":            {s.HoldsOf + " (?, ?) order by seq" + s.Lock, []any{"w", 5, 6}},
		"charged":            {s.Charged + s.Lock, []any{5, "x5"}},
		"returned":           {s.Returned, []any{"x5"}},
		"take back":          {s.TakeBack, []any{"x5", "t"}},
		"suspects":           {s.SuspectReady, []any{"q1"}}, "old suspects": {s.SuspectsOld, []any{1}}, "claim of one": {
			s.ClaimSuspect, []any{"q1", 1}},
		"count of suspects": {s.Suspects + " (?, ?)", []any{"q1", "q2"}}, "keep suspects": {s.SuspectKeep, []any{1, "q1"}},
		"depths": {s.Depths, nil},
		"ahead":  {s.Ahead, []any{"q0", 3, 3, 50, 50, 50}}, "forget": {s.DropLog, []any{"x5"}},
	} {
		for _, step := range r.plan(p.stmt, p.args...) {
			if step.access == "ALL" && isMessages(step.table) || strings.Contains(step.extra, "filesort") {
				t.Errorf("%s reads %q with key %q: %s", name, step.access, step.key, step.extra)
			}
		}
	}
}

// handlerReads counts the rows that a statement reads on its way.
func (r *rig) handlerReads(stmt string, args ...any) (n int64) {
	r.Helper()
	c := r.conn()
	defer func() { _ = c.Close() }()
	if _, err := c.ExecContext(r.soon(), `flush status`); err != nil {
		r.Fatal(err)
	}
	rows, err := c.QueryContext(r.soon(), stmt, args...)
	if err != nil {
		r.Fatal(err)
	}
	for rows.Next() { // only the work counts
	}
	if err := rows.Close(); err != nil {
		r.Fatal(err)
	}
	err = c.QueryRowContext(r.soon(), `select cast(sum(variable_value) as signed) from information_schema.session_status
		where variable_name in ('handler_read_key', 'handler_read_next', 'handler_read_rnd_next', 'handler_read_first',
			'handler_read_prev', 'handler_read_rnd', 'handler_read_last')`).Scan(&n)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func TestAClaimReadsNoMoreThanItTakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`insert into posthorn_message (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, body)
		select concat('x', seq), 'k', 'q', seq % 5, seq % 3, seq, seq, 1, 0, '' from seq_1_to_9000`)
	s := r.store.SQL
	for name, p := range map[string]struct {
		stmt  string
		args  []any
		limit int64
	}{
		"claim": {s.Claim, []any{"q", 10}, 30}, "later": {s.Later, []any{1 << 40}, 1100},
		"nothing due": {s.Later, []any{0}, 30},
		"next wake":   {s.NextWake, nil, 30}, "ready": {s.Ready, []any{"q"}, 30},
	} {
		if n := r.handlerReads(p.stmt, p.args...); n > p.limit {
			t.Errorf("%s reads %d rows, want at most %d", name, n, p.limit)
		}
	}
}

func TestFiguresReadWhatIsInFlightOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.claims(400)
	r.exec(`insert into posthorn_message (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, body)
		select concat('x', seq), 'k', 'q', seq % 5, seq % 2, seq, seq, 1, 0, '' from seq_1_to_9000`)
	s := r.store.SQL
	for name, p := range map[string]struct {
		stmt string
		args []any
	}{"depths": {s.Depths, nil}, "ahead": {s.Ahead, []any{"q", 3, 3, 9000, 9000, 1}}} {
		if n := r.handlerReads(p.stmt, p.args...); n > 40_000 {
			t.Errorf("%s of 9,400 messages reads %d rows", name, n)
		}
	}
}

func TestAListOfRowsIsLookedUpEvenInASmallTable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`insert into posthorn_message (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, body, token)
		select concat('x', seq), 'k', 'q', 0, 2, seq, 1 << 50, 1, 0, '', 't' from seq_1_to_400`)
	list, args := strings.Repeat(", ?", 199), []any{}
	for i := range 200 {
		args = append(args, 2*i+1)
	}
	s := r.store.SQL
	for name, stmt := range map[string]string{
		"claims": s.Claims + " (?" + list + ")" + s.SkipLocked, "mark": s.ClaimMark + " (?" + list + ")",
	} {
		given := args
		if name == "mark" {
			given = append([]any{"t", "w", 1}, args...)
		}
		for _, step := range r.plan(stmt, given...) {
			if step.access != "range" || step.key != "PRIMARY" {
				t.Errorf("%s reads %q with key %q: %s", name, step.access, step.key, step.extra)
			}
		}
	}
}

func TestAcknowledgingManyWaitsForNobodyElsesRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ds := r.claims(300)
	c := r.conn()
	for _, stmt := range []string{`begin`, `select seq from posthorn_message where id = '` + ds[0].ID + `' for update`} {
		if _, err := c.ExecContext(r.soon(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	ss := make([]driver.Settlement, 0, len(ds))
	for _, d := range ds[1:] {
		ss = append(ss, driver.Settlement{Delivery: d, Verdict: driver.Ack})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.consumer.Extend(ctx, ds[1:]...); err != nil {
		t.Errorf("extend beside a locked row: %v", err)
	}
	if err := r.consumer.Settle(ctx, ss...); err != nil {
		t.Errorf("settle beside a locked row: %v", err)
	}
}
