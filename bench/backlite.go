package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/mikestefanello/backlite"
)

// backliteWorkers: its fetcher takes as many as workers are free, and sleeps
// for 100 ms when none is, so many workers measure best.
const backliteWorkers = 500

// backliteSystem is backlite without retention of what is done.
func backliteSystem() system {
	return system{
		subject: subject{sqliteKind().name, "backlite"},
		title:   "backlite", module: "github.com/mikestefanello/backlite", backlog: 6000,
		settings: "500 workers, nothing retained, no cleaner",
		lacks: "it has no completion inside the handler's transaction, and its worker does not hear of " +
			"messages that another process sent",
		without: []string{"handle-tx", "handle-tx-alone", "handle-queued", "latency"},
		open:    openBacklite,
	}
}

// A backliteNote is a note as backlite takes it.
type backliteNote struct{ note }

// Config is the queue of its kind.
func (backliteNote) Config() backlite.QueueConfig {
	return backlite.QueueConfig{Name: "notes", MaxAttempts: 3, Timeout: 10 * time.Second, Backoff: time.Second}
}

// A backliteBus is an opened client.
type backliteBus struct {
	pool    *sql.DB
	client  *backlite.Client
	workers int
}

func openBacklite(ctx context.Context, address string, l load) (bus, error) {
	db, err := openPool(address)
	if err != nil {
		return nil, err
	}
	b := &backliteBus{pool: db, workers: l.slots(backliteWorkers)}
	b.client, err = backlite.NewClient(backlite.ClientConfig{
		DB: db, NumWorkers: b.workers, ReleaseAfter: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return b, b.client.Install()
}

func (b *backliteBus) send(ctx context.Context, n note) error {
	_, err := b.client.Add(backliteNote{n}).Ctx(ctx).Save()
	return err
}

func (b *backliteBus) sendMany(ctx context.Context, ns []note) error {
	ts := make([]backlite.Task, len(ns))
	for i, n := range ns {
		ts[i] = backliteNote{n}
	}
	_, err := b.client.Add(ts...).Ctx(ctx).Save()
	return err
}

func (b *backliteBus) work(ctx context.Context, l load) error {
	b.client.Register(backlite.NewQueue(func(_ context.Context, n backliteNote) error {
		l.seen(n.note)
		return nil
	}))
	running := context.WithoutCancel(ctx)
	b.client.Start(running)
	<-ctx.Done()
	patience, cancel := context.WithTimeout(running, 10*time.Second)
	defer cancel()
	if !b.client.Stop(patience) {
		return errors.New("backlite did not stop within 10 s")
	}
	return nil
}

func (b *backliteBus) left(ctx context.Context) (int, error) {
	return count(ctx, b.pool, "select count(*) from backlite_tasks")
}

func (b *backliteBus) db() *sql.DB  { return b.pool }
func (b *backliteBus) close() error { return b.pool.Close() }
