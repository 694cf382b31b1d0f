package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the database of the tests

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
)

// queue is a transport that keeps what is sent in a table of the
// application's database. It only sends.
type queue struct{ driver.Transport }

func (queue) Capabilities() driver.Capabilities { return driver.Capabilities{} }

func (queue) Transact(context.Context, []driver.Unit) []error { return nil }

func (queue) SendTx(ctx context.Context, tx *sql.Tx, envs ...driver.Envelope) error {
	for _, e := range envs {
		_, err := tx.ExecContext(ctx, `insert into queue (id, kind, body) values (?, ?, ?)`, e.ID, e.Kind, e.Body)
		if err != nil {
			return err
		}
	}
	return nil
}

// effectTx lets an effect run in an ordinary transaction.
type effectTx struct{ *sql.Tx }

func (t effectTx) Send(ctx context.Context, envs ...driver.Envelope) error {
	return queue{}.SendTx(ctx, t.Tx, envs...)
}

func (t effectTx) Queue(ctx context.Context, query string, args ...any) error {
	_, err := t.ExecContext(ctx, query, args...)
	return err
}

func (effectTx) SQL() *sql.Tx { return nil }

func openDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // it may be run again
		if err := on(t, db).Install(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, `create table queue (id text primary key, kind text, body blob)`)
	return db
}

// on is the application's view of the database.
func on(t *testing.T, db *sql.DB) app.Database {
	t.Helper()
	d, err := app.NewDatabase(db, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// one returns the only value of a query.
func one[T any](t *testing.T, db *sql.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func newDispatcher(t *testing.T) *posthorn.Dispatcher {
	t.Helper()
	d, err := posthorn.NewDispatcher(queue{}, posthorn.DispatcherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// clientFunc is a Client.
type clientFunc func(ctx context.Context, url string) error

func (f clientFunc) Unsubscribe(ctx context.Context, url string) error { return f(ctx, url) }

// slowPart runs the slow part of the handler on a message. It has no database.
func slowPart(t *testing.T, c app.Client, msg app.UnsubscribeEmail) (posthorn.Effect, driver.Delivery, error) {
	t.Helper()
	m := posthorn.NewMux()
	app.Register(m, c, on(t, nil), posthorn.WithTimeout(time.Minute))
	h, ok := m.Handler(app.Kind)
	if !ok || !h.Transactional() {
		t.Fatal("no transactional handler")
	}
	body, err := json.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	d := driver.Delivery{Envelope: driver.Envelope{ID: msg.Mail, Kind: app.Kind, Body: body}}
	effect, err := h.Start(t.Context(), d)
	return effect, d, err
}

// commit runs an effect in a transaction and commits it when it succeeds. It
// returns what was logged.
func commit(t *testing.T, db *sql.DB, effect posthorn.Effect, d driver.Delivery) (string, error) {
	t.Helper()
	var log bytes.Buffer
	ctx := posthorn.WithDelivery(t.Context(), d, slog.New(slog.NewTextHandler(&log, nil)))
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := effect.Bind(newDispatcher(t))(ctx, effectTx{tx}); err != nil {
		return log.String(), err
	}
	return log.String(), tx.Commit()
}

// queued returns the bodies of the messages by the files they came from.
func queued(t *testing.T, db *sql.DB) map[string][]byte {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `select file, body from queue join mail using (id)`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	bodies := map[string][]byte{}
	for rows.Next() {
		var file string
		var body []byte
		if err := rows.Scan(&file, &body); err != nil {
			t.Fatal(err)
		}
		bodies[file] = body
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return bodies
}
