package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// riverPoll is for SQLite, where River has no notifications.
const riverPoll = 5 * time.Millisecond

// riverCooldown is the least between two fetches of a worker, and between two
// notifications of a client that inserts.
const riverCooldown = time.Millisecond

// riverWorkers: River fetches as many as slots are free.
const riverWorkers = 1000

// riverConnections is the size of River's pool on PostgreSQL: with twice as
// many, a thousand workers commit fewer transactions.
const riverConnections = 32

// riverSystem is River on a store.
func riverSystem(k kind, backlog, backlogTx int) system {
	return system{
		subject: subject{k.name, "river"},
		title:   "River", module: "github.com/riverqueue/river", backlog: backlog, backlogTx: backlogTx,
		settings: "1000 workers, fetch cooldown 1 ms of both clients, the default completer; InsertManyFast; " +
			"with the INSERT: JobCompleteTx",
		without: []string{"handle-tx-alone", "handle-queued"},
	}
}

func riverSQLiteSystem() system {
	s := riverSystem(sqliteKind(), 3000, 0)
	s.settings += "; poll every 5 ms"
	s.lacks = "to send and to drain a million messages would take it minutes"
	s.without = append(s.without, "backlog", "snapshot")
	s.open = openRiverSQLite
	return s
}

func riverPostgresSystem() system {
	s := riverSystem(postgresKind(), 15_000, 2000)
	s.settings += "; notifications, and the default poll"
	s.open = openRiverPostgres
	return s
}

// A riverBus is an opened client that inserts; T is the driver's transaction.
type riverBus[T any] struct {
	pool   *sql.DB
	driver riverdriver.Driver[T]
	client *river.Client[T]
	poll   time.Duration
	// effect commits an INSERT together with the completion of its job.
	effect func(ctx context.Context, job *river.Job[note]) error
	shut   func() error
}

func openRiverSQLite(ctx context.Context, address string, _ load) (bus, error) {
	db, err := openPool(address)
	if err != nil {
		return nil, err
	}
	b := &riverBus[*sql.Tx]{pool: db, driver: riversqlite.New(db), poll: riverPoll, shut: db.Close}
	b.effect = func(ctx context.Context, job *river.Job[note]) error {
		return inTx(ctx, db, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, effectInsert, job.Args.N, job.Args.Text); err != nil {
				return err
			}
			_, err := river.JobCompleteTx[*riversqlite.Driver](ctx, tx, job)
			return err
		})
	}
	return b.prepared(ctx)
}

func openRiverPostgres(ctx context.Context, address string, _ load) (bus, error) {
	pool, err := openPgPool(ctx, address, riverConnections)
	if err != nil {
		return nil, err
	}
	b := &riverBus[pgx.Tx]{
		pool: pool.std, driver: riverpgxv5.New(pool.native), poll: river.FetchPollIntervalDefault, shut: pool.close,
	}
	b.effect = func(ctx context.Context, job *river.Job[note]) error {
		return pgx.BeginFunc(ctx, pool.native, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, effectInsertNumbered, job.Args.N, job.Args.Text); err != nil {
				return err
			}
			_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
			return err
		})
	}
	return b.prepared(ctx)
}

// prepared makes River's tables and the client that inserts.
func (b *riverBus[T]) prepared(ctx context.Context) (bus, error) {
	m, err := rivermigrate.New(b.driver, &rivermigrate.Config{Logger: silent()})
	if err == nil {
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err == nil {
		b.client, err = river.NewClient(b.driver, &river.Config{Logger: silent(), FetchCooldown: riverCooldown})
	}
	if err != nil {
		return nil, errors.Join(err, b.shut())
	}
	return b, nil
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (b *riverBus[T]) send(ctx context.Context, n note) error {
	_, err := b.client.Insert(ctx, n, nil)
	return err
}

func (b *riverBus[T]) sendMany(ctx context.Context, ns []note) error {
	ps := make([]river.InsertManyParams, len(ns))
	for i, n := range ns {
		ps[i] = river.InsertManyParams{Args: n}
	}
	_, err := b.client.InsertManyFast(ctx, ps)
	return err
}

func (b *riverBus[T]) work(ctx context.Context, l load) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[note]) error {
		l.seen(job.Args)
		if !l.insert {
			return nil
		}
		return b.effect(ctx, job)
	}))
	client, err := river.NewClient(b.driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: l.slots(riverWorkers)}},
		Workers:       workers,
		Logger:        silent(),
		FetchCooldown: riverCooldown, FetchPollInterval: b.poll,
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

func (b *riverBus[T]) left(ctx context.Context) (int, error) {
	return count(ctx, b.pool, "select count(*) from river_job where state <> 'completed'")
}

func (b *riverBus[T]) db() *sql.DB  { return b.pool }
func (b *riverBus[T]) close() error { return b.shut() }
