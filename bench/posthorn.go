package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/worker"
)

// posthornSystem is Posthorn with its defaults, but for the concurrency.
func posthornSystem() system {
	return system{
		name: "posthorn", title: "Posthorn", module: "github.com/posthorn/posthorn", backlog: 40_000,
		settings: "defaults, concurrency 64; without group commit: store.Options.GroupBudget 1 ns, " +
			"so that each message has a transaction of its own",
		open: openPosthorn,
	}
}

// posthornConcurrency is its number of handlers at once.
const posthornConcurrency = 64

// A posthornBus is an opened store.
type posthornBus struct {
	store      *store.Store
	dispatcher *posthorn.Dispatcher
}

func openPosthorn(ctx context.Context, path string, l load) (bus, error) {
	var o store.Options
	if l.alone {
		o.GroupBudget = time.Nanosecond
	}
	s, err := sqlite.Open(ctx, "sqlite:"+path, o)
	if err != nil {
		return nil, err
	}
	b := &posthornBus{store: s}
	if b.dispatcher, err = posthorn.NewDispatcher(s, posthorn.DispatcherOptions{}); err != nil {
		return nil, err
	}
	if err := checkDurable(ctx, s.DB()); err != nil {
		return nil, err
	}
	_, err = s.DB().ExecContext(ctx, effectTable)
	return b, err
}

func (b *posthornBus) send(ctx context.Context, n note) error {
	_, err := b.dispatcher.Dispatch(ctx, n)
	return err
}

func (b *posthornBus) sendMany(ctx context.Context, ns []note) error {
	ms := make([]posthorn.Message, len(ns))
	for i, n := range ns {
		ms[i] = n
	}
	_, err := b.dispatcher.DispatchMany(ctx, ms)
	return err
}

func (b *posthornBus) work(ctx context.Context, l load) error {
	mux := posthorn.NewMux()
	if l.insert {
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			l.seen(n)
			_, err := tx.ExecContext(ctx, effectInsert, n.N, n.Text)
			return err
		})
	} else {
		posthorn.Handle(mux, func(_ context.Context, n note) error {
			l.seen(n)
			return nil
		})
	}
	concurrency := posthornConcurrency
	if l.concurrency > 0 {
		concurrency = l.concurrency
	}
	w, err := worker.New(b.store, mux, worker.Options{Concurrency: concurrency})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

func (b *posthornBus) left(ctx context.Context) (int, error) {
	return count(ctx, b.store.DB(), "select count(*) from posthorn_message")
}

func (b *posthornBus) db() *sql.DB  { return b.store.DB() }
func (b *posthornBus) close() error { return b.store.Close() }
