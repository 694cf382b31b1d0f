package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/transport/open"
	"github.com/posthorn/posthorn/worker"
)

// ours is the system name of Posthorn, on every store.
const ours = "posthorn"

// posthornSystem is Posthorn with its defaults, but for the concurrency.
func posthornSystem(k kind, backlog, backlogTx int) system {
	return system{
		subject: subject{k.name, ours},
		title:   "Posthorn", module: "github.com/posthorn/posthorn", backlog: backlog, backlogTx: backlogTx,
		settings: "defaults, concurrency 64; without group commit: store.Options.GroupBudget 1 ns, " +
			"so that each message has a transaction of its own",
		open: func(ctx context.Context, address string, l load) (bus, error) {
			return openPosthorn(ctx, address, l, k.effect)
		},
	}
}

// posthornConcurrency is its number of handlers at once.
const posthornConcurrency = 64

// A posthornBus is an opened store.
type posthornBus struct {
	store      *store.Store
	dispatcher *posthorn.Dispatcher
	effect     string
}

func openPosthorn(ctx context.Context, address string, l load, effect string) (bus, error) {
	var o store.Options
	if l.alone {
		o.GroupBudget = time.Nanosecond
	}
	s, err := open.Store(ctx, address, o)
	if err != nil {
		return nil, err
	}
	b := &posthornBus{store: s, effect: effect}
	if b.dispatcher, err = posthorn.NewDispatcher(s, posthorn.DispatcherOptions{}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return b, nil
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
	switch {
	case l.faults != nil:
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			_, err := tx.ExecContext(ctx, b.effect, n.N, n.Text)
			return errors.Join(err, l.faults.attempt(ctx, n, l.seen))
		}, posthorn.WithRetry(l.faults.plan()))
	case l.queued:
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			l.seen(n)
			return tx.Queue(ctx, b.effect, n.N, n.Text)
		})
	case l.insert:
		posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, n note) error {
			l.seen(n)
			_, err := tx.ExecContext(ctx, b.effect, n.N, n.Text)
			return err
		})
	default:
		posthorn.Handle(mux, func(_ context.Context, n note) error {
			l.seen(n)
			return nil
		})
	}
	w, err := worker.New(b.store, mux, worker.Options{Concurrency: l.slots(posthornConcurrency)})
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
