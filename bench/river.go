package main

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// riverWorkers: River fetches as many as slots are free.
const riverWorkers = 1000

// riverSystem is River on its SQLite driver.
func riverSystem() system {
	return system{
		name: "river", title: "River", module: "github.com/riverqueue/river", backlog: 3000,
		settings: "1000 workers, fetch cooldown 1 ms, poll every 5 ms; InsertManyFast; with the INSERT: JobCompleteTx",
		without:  []string{"handle-tx-alone"},
		open:     openRiver,
	}
}

// A riverBus is an opened client that inserts.
type riverBus struct {
	pool   *sql.DB
	client *river.Client[*sql.Tx]
}

func openRiver(ctx context.Context, path string, _ load) (bus, error) {
	db, err := openPool(ctx, path)
	if err != nil {
		return nil, err
	}
	m, err := rivermigrate.New(riversqlite.New(db), &rivermigrate.Config{Logger: silent()})
	if err != nil {
		return nil, err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	b := &riverBus{pool: db}
	b.client, err = river.NewClient(riversqlite.New(db), &river.Config{Logger: silent()})
	return b, err
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (b *riverBus) send(ctx context.Context, n note) error {
	_, err := b.client.Insert(ctx, n, nil)
	return err
}

func (b *riverBus) sendMany(ctx context.Context, ns []note) error {
	ps := make([]river.InsertManyParams, len(ns))
	for i, n := range ns {
		ps[i] = river.InsertManyParams{Args: n}
	}
	_, err := b.client.InsertManyFast(ctx, ps)
	return err
}

func (b *riverBus) work(ctx context.Context, l load) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[note]) error {
		l.seen(job.Args)
		if !l.insert {
			return nil
		}
		return inTx(ctx, b.pool, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, effectInsert, job.Args.N, job.Args.Text); err != nil {
				return err
			}
			_, err := river.JobCompleteTx[*riversqlite.Driver](ctx, tx, job)
			return err
		})
	}))
	slots := riverWorkers
	if l.concurrency > 0 {
		slots = l.concurrency
	}
	client, err := river.NewClient(riversqlite.New(b.pool), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}},
		Workers:       workers,
		Logger:        silent(),
		FetchCooldown: time.Millisecond, FetchPollInterval: 5 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	running := context.WithoutCancel(ctx)
	if err := client.Start(running); err != nil {
		return err
	}
	<-ctx.Done()
	patience, cancel := context.WithTimeout(running, 20*time.Second)
	defer cancel()
	return client.Stop(patience)
}

func (b *riverBus) left(ctx context.Context) (int, error) {
	return count(ctx, b.pool, "select count(*) from river_job where state <> 'completed'")
}

func (b *riverBus) db() *sql.DB  { return b.pool }
func (b *riverBus) close() error { return b.pool.Close() }
