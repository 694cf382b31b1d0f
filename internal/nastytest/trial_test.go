package nastytest_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// Each nasty handler is tried, on one connection as long as it is clean. Whatever it
// does, the database is what it was, and the next trial and the next message
// find a session that is clean.
func TestNothingStaysOfANastyHandlerThatIsOnlyTried(t *testing.T) {
	onEachServer(t, func(t *testing.T, k kind) {
		r := newRig(t, k, 1)
		r.consume()
		before := r.checksum()
		for i, c := range k.corpus {
			t.Run(c.name, func(t *testing.T) {
				r.T = t
				r.rehearse(c, fmt.Sprint("tried-", i), c.rawOnly)
			})
		}
		r.T = t
		if after := r.checksum(); after != before {
			t.Errorf("the database is\n%s\nand was\n%s", after, before)
		}
		var conn string
		ds := r.claims("good")
		if err := r.store.Transact(t.Context(), []driver.Unit{r.innocent(ds[0], &conn)})[0]; err != nil {
			t.Errorf("the next message: %v", err)
		}
	})
}

// rehearse tries a nasty handler, and an innocent one after it.
func (r *rig) rehearse(c nasty, kind string, alone bool) {
	r.Helper()
	s := &scene{t: r.T, kind: r.kind, id: "tried", alone: alone}
	defer s.strays.Wait()
	d := driver.Delivery{Envelope: driver.Envelope{ID: "tried", Kind: kind, Queue: "q"}, Deliveries: 1}
	u := r.unit(d, func(ctx context.Context, tx *posthorn.Tx) error { return s.run(ctx, tx, c) })
	if u.Alone = alone; c.slow {
		u.Timeout = 50 * time.Millisecond
	}
	got, err := r.store.Try(r.Context(), u)
	if alone && errors.Is(err, store.ErrNoTrial) {
		return
	}
	if err != nil {
		r.Errorf("the trial itself: %v", err)
	}
	if n := r.effects("tried"); n != 0 {
		r.Errorf("%d effects stay", n)
	}
	// What ends the transaction behind the guard's back cannot do so in a trial.
	if want := c.want; !c.chance && !c.early && (got.Err != nil) != (want != nil) {
		r.Errorf("error %v, want %v", got.Err, want)
	}
	d.ID = "after"
	got, err = r.store.Try(r.Context(), r.unit(d, func(ctx context.Context, tx *posthorn.Tx) error {
		_, err := handleGood(ctx, tx, r.kind, r.virgin)
		return err
	}))
	if err = errors.Join(err, got.Err); err != nil || got.Rows != 1 || got.Dirty != "" {
		r.Errorf("an innocent one after it: %+v, %v", got, err)
	}
}

// checksum is over everything in the database but the audit, which tells of trials.
func (r *rig) checksum() string {
	r.Helper()
	list := map[string]string{
		"sqlite": `select name from sqlite_master where type = 'table'`,
		"postgres": `select table_name from information_schema.tables
			where table_schema = 'public' and table_type = 'BASE TABLE'`,
		"mysql": `select table_name from information_schema.tables where table_schema = database()`,
	}[r.store.Dialect()]
	var out string
	for _, table := range r.column(list) {
		if !slices.Contains([]string{"posthorn_audit", "posthorn_audited"}, table) {
			out += fmt.Sprintf("%s %x\n", table, r.sum(table))
		}
	}
	return out
}

// sum is over the rows of a table, in whatever order.
func (r *rig) sum(table string) (sum [8]byte) {
	r.Helper()
	r.each("select * from "+table, func(rows *sql.Rows) error {
		names, err := rows.Columns()
		cells := make([]any, len(names))
		for i := range cells {
			cells[i] = new(sql.RawBytes)
		}
		if err := errors.Join(err, rows.Scan(cells...)); err != nil {
			return err
		}
		h := sha256.New()
		for _, cell := range cells {
			fmt.Fprintf(h, "%q", *cell.(*sql.RawBytes))
		}
		for i, b := range h.Sum(nil)[:len(sum)] {
			sum[i] ^= b
		}
		sum[0]++ // rows that are the same do not cancel out
		return nil
	})
	return sum
}

func (r *rig) column(query string) (out []string) {
	r.Helper()
	r.each(query, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		out = append(out, s)
		return err
	})
	slices.Sort(out)
	return out
}

func (r *rig) each(query string, fn func(*sql.Rows) error) {
	r.Helper()
	rows, err := r.store.DB().QueryContext(r.Context(), query)
	if err != nil {
		r.Fatalf("%s: %v", query, err)
	}
	for err == nil && rows.Next() {
		err = fn(rows)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		r.Fatalf("%s: %v", query, err)
	}
}
