package nastytest_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// A rig is a store with the tables that the corpus wants. The table of effects
// has no unique key, so that doubles show.
type rig struct {
	*testing.T
	kind     kind
	store    *store.Store
	sender   *posthorn.Dispatcher
	log      *record
	virgin   string // the answer of a session that nobody has used
	consumer driver.Consumer
	sent     int
}

// newRig opens a store whose effects run on some connections.
func newRig(t *testing.T, k kind, effects int) *rig {
	t.Helper()
	r := &rig{T: t, kind: k, log: &record{dirty: map[string]bool{}}}
	var err error
	r.store, err = k.open(t.Context(), k.database(t), store.Options{
		StuckGrace: 100 * time.Millisecond, GroupBudget: time.Second, Poll: 50 * time.Millisecond,
		Log: slog.New(r.log), Server: store.ServerOptions{Effects: effects},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, stmt := range k.schema {
		if _, err := r.store.DB().ExecContext(t.Context(), stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	if r.sender, err = posthorn.NewDispatcher(r.store, posthorn.DispatcherOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// consume opens the rig's consumer, and looks at a session that is fresh.
func (r *rig) consume() {
	r.Helper()
	var err error
	r.consumer, err = r.store.Consume(r.Context(), driver.Subscription{Queues: []string{"q"}, Lease: 10 * patience})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = r.consumer.Close() })
	ds := r.claims("fresh")
	u := r.unit(ds[0], func(ctx context.Context, tx *posthorn.Tx) (err error) {
		r.virgin, _, err = look(ctx, tx, r.kind)
		return err
	})
	if err := r.store.Transact(r.Context(), []driver.Unit{u})[0]; err != nil {
		r.Fatal(err)
	}
}

// claims sends a message of each kind and receives them in this order.
func (r *rig) claims(kinds ...string) []driver.Delivery {
	r.Helper()
	var envs []driver.Envelope
	for _, kind := range kinds {
		r.sent++
		envs = append(envs, driver.Envelope{ID: fmt.Sprint("m", r.sent), Kind: kind, Queue: "q"})
	}
	if err := r.store.Send(r.Context(), envs...); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	ds, err := r.consumer.Receive(ctx, len(envs))
	if err != nil || len(ds) != len(envs) || ds[0].ID != envs[0].ID {
		r.Fatalf("received %v, %v, want %v", ds, err, envs)
	}
	return ds
}

// unit makes a unit of a delivery, as a worker would.
func (r *rig) unit(d driver.Delivery, effect posthorn.Effect) driver.Unit {
	return driver.Unit{
		Delivery: d, Timeout: patience, Effect: effect.Bind(r.sender),
		Context: posthorn.WithDelivery(r.Context(), d, slog.New(slog.DiscardHandler)),
	}
}

// innocent is the unit of a good message. conn is told the connection's id.
func (r *rig) innocent(d driver.Delivery, conn *string) driver.Unit {
	return r.unit(d, func(ctx context.Context, tx *posthorn.Tx) (err error) {
		*conn, err = handleGood(ctx, tx, r.kind, r.virgin)
		return err
	})
}

// handleGood inserts an effect in a session that must be as a fresh one.
func handleGood(ctx context.Context, tx *posthorn.Tx, k kind, want string) (conn string, err error) {
	d, _ := posthorn.DeliveryFrom(ctx)
	got, conn, err := look(ctx, tx, k)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("session is not clean: it is %s, want %s", got, want)
	}
	_, err = tx.ExecContext(ctx, k.insert, d.ID)
	return conn, err
}

// effects counts the committed effects of a message.
func (r *rig) effects(id string) (n int) {
	r.Helper()
	query := "select count(*) from effect where id = '" + id + "'"
	if err := r.store.DB().QueryRowContext(r.Context(), query).Scan(&n); err != nil {
		r.Fatal(err)
	}
	return n
}

// place is where a message is; empty when it is done.
func (r *rig) place(id string) store.Place {
	r.Helper()
	p, err := r.store.Find(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	if p == nil {
		return ""
	}
	return p.Place
}

// A record is a log that keeps the kinds whose connections were destroyed.
type record struct {
	mu    sync.Mutex
	dirty map[string]bool
}

// took reports whether a kind was named since the last call, and forgets all.
func (r *record) took(kind string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer clear(r.dirty)
	return r.dirty[kind]
}

// Enabled makes a record a slog.Handler.
func (r *record) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle keeps the kind.
func (r *record) Handle(_ context.Context, line slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !strings.Contains(line.Message, "session left dirty") {
		return nil
	}
	line.Attrs(func(a slog.Attr) bool {
		if a.Key == "kind" {
			for kind := range strings.SplitSeq(a.Value.String(), ",") {
				r.dirty[kind] = true
			}
		}
		return true
	})
	return nil
}

// WithAttrs keeps nothing.
func (r *record) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup keeps nothing.
func (r *record) WithGroup(string) slog.Handler { return r }
