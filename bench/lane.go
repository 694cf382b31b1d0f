package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The prototypes for ADR 23: the same loop on an append-only log with a ticket for
// each range, and on a table whose rows are claimed and deleted. Both do less than a
// product must: no retries, no delays, no priorities, no session guard, no deadlines,
// no leases that are renewed. They are measured only when they are asked for by name.
const (
	laneName = "log-lane"
	rowsName = "row-table"
)

// A ticket is a batch that one loop holds.
type ticket struct {
	id     int64
	seqs   []int64 // of the rows, where these are what is held
	bodies [][]byte
}

// A shelf is where the messages of a prototype are.
type shelf interface {
	put(ctx context.Context, bodies [][]byte) error
	// take claims up to some hundreds of messages; none: there are none now.
	take(ctx context.Context) (ticket, error)
	// finish settles a ticket alone.
	finish(ctx context.Context, t ticket) error
	// commit settles a ticket and runs the INSERT of each note, in this order, in one
	// transaction.
	commit(ctx context.Context, t ticket, ns []note, queued bool) error
	left(ctx context.Context) (int, error)
	db() *sql.DB
	close() error
}

// laneSystems are the prototypes.
func laneSystems() []system {
	prototype := func(k kind, name string, open func(context.Context, string, bool) (shelf, error), loops int) system {
		return system{
			subject: subject{k.name, name}, asked: true, title: "prototype: " + name,
			module: "github.com/posthorn/posthorn", backlog: 40_000,
			settings: fmt.Sprintf("the least loop, batches of %d, %d loops", claimBatch, loops),
			without:  []string{"handle-tx-alone"},
			open: func(ctx context.Context, address string, _ load) (bus, error) {
				s, err := open(ctx, address, name == laneName)
				return &laneBus{shelf: s, loops: loops}, err
			},
		}
	}
	return []system{
		prototype(sqliteKind(), laneName, openFileShelf, 2), prototype(sqliteKind(), rowsName, openFileShelf, 2),
		prototype(postgresKind(), laneName, openPostgresShelf, 8), prototype(postgresKind(), rowsName, openPostgresShelf, 8),
	}
}

// A laneBus is a prototype that was opened.
type laneBus struct {
	shelf
	loops int
}

func (b *laneBus) send(ctx context.Context, n note) error { return b.sendMany(ctx, []note{n}) }

func (b *laneBus) sendMany(ctx context.Context, ns []note) error {
	bodies := make([][]byte, len(ns))
	for i, n := range ns {
		var err error
		if bodies[i], err = json.Marshal(n); err != nil {
			return err
		}
	}
	return b.put(ctx, bodies)
}

func (b *laneBus) work(ctx context.Context, l load) error {
	errs := make([]error, b.loops)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = b.loop(ctx, l) })
	}
	wg.Wait()
	if err := errors.Join(errs...); ctx.Err() == nil {
		return err
	}
	return nil
}

// loop takes tickets, handles their messages and settles them.
func (b *laneBus) loop(ctx context.Context, l load) error {
	for ctx.Err() == nil {
		t, err := b.take(ctx)
		if err != nil {
			return err
		}
		if len(t.bodies) == 0 {
			pause(ctx, time.Millisecond)
			continue
		}
		ns := make([]note, len(t.bodies))
		for i, body := range t.bodies {
			if err := json.Unmarshal(body, &ns[i]); err != nil {
				return err
			}
		}
		if l.insert {
			err = b.commit(ctx, t, ns, l.queued)
		} else {
			err = b.finish(ctx, t)
		}
		for _, n := range ns {
			l.seen(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
