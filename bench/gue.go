package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/vgarvardt/gue/v5"
	"github.com/vgarvardt/gue/v5/adapter/pgxv5"
)

// gueWorkers is the size of gue's worker pool. Each worker holds a connection
// while it handles a job.
const gueWorkers = 16

// guePoll is how often each idle worker looks for jobs.
const guePoll = 10 * time.Millisecond

// gueSchema is the table that gue's documentation asks for.
const gueSchema = `
create table if not exists gue_jobs (
	job_id text primary key, priority smallint not null, run_at timestamptz not null, job_type text not null,
	args bytea not null, error_count integer not null default 0, last_error text, queue text not null,
	created_at timestamptz not null, updated_at timestamptz not null
);
create index if not exists idx_gue_jobs_selector on gue_jobs (queue, run_at, priority);`

// gueSystem is gue on pgx. By priority, its other strategy, each look for a job
// sorts the whole backlog.
func gueSystem() system {
	return system{
		subject: subject{postgresKind().name, "gue"},
		title:   "gue", module: "github.com/vgarvardt/gue/v5", backlog: 5000, backlogTx: 4000,
		settings: "pgx adapter, pool of 16 workers, each polls every 10 ms, strategy RunAt; EnqueueBatch; " +
			"with the INSERT: in the job's transaction",
		without: []string{"handle-tx-alone", "handle-queued"},
		open:    openGue,
	}
}

// A gueBus is an opened client.
type gueBus struct {
	pgPool
	client *gue.Client
}

func openGue(ctx context.Context, address string, _ load) (bus, error) {
	pool, err := openPgPool(ctx, address, peerConnections)
	if err != nil {
		return nil, err
	}
	b := &gueBus{pgPool: pool}
	if _, err = pool.native.Exec(ctx, gueSchema); err == nil {
		b.client, err = gue.NewClient(pgxv5.NewConnPool(pool.native))
	}
	if err != nil {
		return nil, errors.Join(err, pool.close())
	}
	return b, nil
}

// gueJob makes the job of a note.
func gueJob(n note) (*gue.Job, error) {
	body, err := json.Marshal(n)
	return &gue.Job{Type: n.Kind(), Args: body}, err
}

func (b *gueBus) send(ctx context.Context, n note) error {
	job, err := gueJob(n)
	if err != nil {
		return err
	}
	return b.client.Enqueue(ctx, job)
}

func (b *gueBus) sendMany(ctx context.Context, ns []note) (err error) {
	jobs := make([]*gue.Job, len(ns))
	for i, n := range ns {
		if jobs[i], err = gueJob(n); err != nil {
			return err
		}
	}
	return b.client.EnqueueBatch(ctx, jobs)
}

func (b *gueBus) work(ctx context.Context, l load) error {
	handle := func(ctx context.Context, job *gue.Job) error {
		var n note
		if err := json.Unmarshal(job.Args, &n); err != nil {
			return err
		}
		l.seen(n)
		if !l.insert {
			return nil
		}
		_, err := job.Tx().Exec(ctx, effectInsertNumbered, n.N, n.Text)
		return err
	}
	pool, err := gue.NewWorkerPool(b.client, gue.WorkMap{note{}.Kind(): handle}, min(l.slots(gueWorkers), peerConnections),
		gue.WithPoolPollInterval(guePoll), gue.WithPoolPollStrategy(gue.RunAtPollStrategy),
		gue.WithPoolGracefulShutdown(nil))
	if err != nil {
		return err
	}
	return pool.Run(ctx)
}

func (b *gueBus) left(ctx context.Context) (int, error) {
	return count(ctx, b.std, "select count(*) from gue_jobs")
}
