package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// Where a commit goes with what it commits, a lost connection means that nobody knows whether that
// was done. On one that the server had closed before nothing was: another one is taken.
func TestAConnectionThatTheServerHadClosedLeavesNothingUnknown(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	s := openStore(t, address(d.Server, d.Name), store.Options{})
	direct := d.Open(t)
	for n := range 5 {
		closeAll(t, direct)
		e := driver.Envelope{ID: fmt.Sprint("m", n), Kind: "k", Queue: "q", Body: []byte("x")}
		if err := s.Send(t.Context(), e); err != nil {
			t.Errorf("send after the server has closed all connections: %v", err)
		}
	}
}

// A statement of Posthorn's own waits for a lock for less than for an answer: one that was given up
// might be done, and committed, when the lock has gone. An address may say less.
func TestOwnStatementsWaitForLocksForLessThanForAnswers(t *testing.T) {
	t.Parallel()
	d := servers.MariaDB(t)
	for limit, want := range map[string]string{"": "10 10", "3": "3 10"} {
		var o store.Options
		if limit != "" {
			o.Server.Session = map[string]string{"lock_wait_timeout": limit}
		}
		var got string
		s := openStore(t, address(d.Server, d.Name), o)
		err := s.Engine.Read(t.Context(), func(ctx context.Context, q store.Session) error {
			const ask = `select concat(@@lock_wait_timeout, ' ', @@innodb_lock_wait_timeout)`
			return q.Query(ctx, ask, nil, func(r store.Row) error { return r.Scan(&got) })
		})
		if err != nil || got != want {
			t.Errorf("session with %q: it waits for %s seconds, %v; want %s", limit, got, err, want)
		}
	}
}

// closeAll has the server close all other connections to the database, and waits until it has.
func closeAll(t *testing.T, direct *sql.DB) {
	t.Helper()
	direct.SetMaxOpenConns(1)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var others []int64
		rows, err := direct.QueryContext(t.Context(),
			`select id from information_schema.processlist where db = database() and id <> connection_id()`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			others = append(others, id)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if len(others) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are not closed", len(others))
		}
		for _, id := range others {
			_, _ = direct.ExecContext(t.Context(), fmt.Sprint("kill ", id)) // it may have ended
		}
	}
}
