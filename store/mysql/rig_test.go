package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/store"
)

// A rig is a store with a table for effects, which has no unique key, so that
// doubles show.
type rig struct {
	*testing.T
	store    *store.Store
	consumer driver.Consumer
	server   *testserver.Server
	dsn      string
	sent     int
}

// newRig makes a rig on a database of the shared server.
func newRig(t *testing.T) *rig {
	t.Helper()
	d := servers.MariaDB(t)
	return newRigAt(t, d.Server, d.Name, store.Options{})
}

func newRigAt(t *testing.T, server *testserver.Server, database string, o store.Options) *rig {
	t.Helper()
	r := &rig{T: t, server: server, dsn: address(server, database)}
	r.store = openStore(t, r.dsn, o)
	r.exec(`create table effect (id varchar(64) not null)`)
	c, err := r.store.Consume(r.soon(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	r.consumer = c
	t.Cleanup(func() { _ = c.Close() })
	return r
}

// soon is a context that ends long after anything that is well.
func (r *rig) soon() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	r.Cleanup(cancel)
	return ctx
}

// exec runs statements on the application's pool.
func (r *rig) exec(statements ...string) {
	r.Helper()
	for _, s := range statements {
		if _, err := r.store.DB().ExecContext(r.soon(), s); err != nil {
			r.Fatalf("%s: %v", s, err)
		}
	}
}

// conn is a connection of the application.
func (r *rig) conn() *sql.Conn {
	r.Helper()
	c, err := r.store.DB().Conn(r.soon())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// claims sends n messages and receives them.
func (r *rig) claims(n int) []driver.Delivery {
	r.Helper()
	envs := make([]driver.Envelope, n)
	for i := range envs {
		r.sent++
		envs[i] = driver.Envelope{ID: fmt.Sprint("m", r.sent), Kind: "k", Queue: "q"}
	}
	if err := r.store.Send(r.soon(), envs...); err != nil {
		r.Fatal(err)
	}
	var out []driver.Delivery
	for len(out) < n {
		ds, err := r.consumer.Receive(r.soon(), n-len(out))
		if err != nil {
			r.Fatal(err)
		}
		out = append(out, ds...)
	}
	return out
}

// effect marks a message, then does what also says.
type effect = func(ctx context.Context, tx driver.Tx) error

func (r *rig) unit(d driver.Delivery, also effect) driver.Unit {
	return driver.Unit{Delivery: d, Context: r.soon(), Effect: func(ctx context.Context, tx driver.Tx) error {
		if _, err := tx.ExecContext(ctx, `insert into effect values (?)`, d.ID); err != nil {
			return err
		}
		return also(ctx, tx)
	}}
}

func nothing(context.Context, driver.Tx) error { return nil }

// among handles a message between two that are well, in one group, makes sure
// that these are committed once, and returns the message with its outcome.
func (r *rig) among(also effect) (driver.Delivery, error) {
	r.Helper()
	ds := r.claims(3)
	errs := r.store.Transact(r.soon(), []driver.Unit{
		r.unit(ds[0], nothing), r.unit(ds[1], also), r.unit(ds[2], nothing),
	})
	for _, i := range []int{0, 2} {
		r.committed(ds[i], errs[i])
	}
	return ds[1], errs[1]
}

// marks counts the committed effects of a message.
func (r *rig) marks(id string) (n int) {
	r.Helper()
	err := r.store.DB().QueryRowContext(r.soon(), `select count(*) from effect where id = ?`, id).Scan(&n)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

// held reports whether the claim stands.
func (r *rig) held(d driver.Delivery) bool {
	r.Helper()
	err := r.consumer.Extend(r.soon(), d)
	if err != nil && !errors.Is(err, driver.ErrLeaseLost) {
		r.Fatal(err)
	}
	return err == nil
}

// committed makes sure that a message is done, with one effect.
func (r *rig) committed(d driver.Delivery, err error) {
	r.Helper()
	if n, held := r.marks(d.ID), r.held(d); err != nil || n != 1 || held {
		r.Errorf("%s: error %v, %d effects, held %v; want nil, 1, false", d.ID, err, n, held)
	}
}

// undone makes sure that a message is where it was, without an effect.
func (r *rig) undone(d driver.Delivery) {
	r.Helper()
	if n, held := r.marks(d.ID), r.held(d); n != 0 || !held {
		r.Errorf("%s: %d effects, held %v; want 0, true", d.ID, n, held)
	}
}

// exec1 is an effect of one statement.
func exec1(stmt string, args ...any) effect {
	return func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, stmt, args...)
		return err
	}
}
