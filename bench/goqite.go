package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"sync"
	"time"

	"maragu.dev/goqite"

	_ "embed"
)

//go:embed goqite.sql
var goqiteSchema string

// goqitePoll is how often an idle goqite worker looks for messages.
const goqitePoll = 5 * time.Millisecond

// goqiteWorkers is what measures best with one connection.
const goqiteWorkers = 8

// goqiteSystem is goqite's queue with a loop of receive, handle, delete. Its
// own runner (package jobs) looks one message at a time, too, sleeps when its
// slots are full, and keeps a goroutine for four seconds after each message.
func goqiteSystem() system {
	return system{
		subject: subject{sqliteKind().name, "goqite"},
		title:   "goqite", module: "maragu.dev/goqite", backlog: 2000,
		settings: "8 loops of receive, handle, delete (faster than its runner); poll every 5 ms; " +
			"with the INSERT: receive, INSERT and delete in one transaction; batches: SendTx in one transaction",
		without: []string{"handle-tx-alone", "handle-queued"},
		open:    openGoqite,
	}
}

// A goqiteBus is an opened queue.
type goqiteBus struct {
	pool  *sql.DB
	queue *goqite.Queue
}

func openGoqite(ctx context.Context, address string, _ load) (bus, error) {
	db, err := openPool(address)
	if err != nil {
		return nil, err
	}
	there, err := count(ctx, db, "select count(*) from sqlite_master where name = 'goqite'")
	if err != nil {
		return nil, err
	}
	if there == 0 {
		if _, err := db.ExecContext(ctx, goqiteSchema); err != nil {
			return nil, err
		}
	}
	q := goqite.New(goqite.NewOpts{DB: db, Name: "notes", Timeout: 30 * time.Second})
	return &goqiteBus{pool: db, queue: q}, nil
}

func (b *goqiteBus) send(ctx context.Context, n note) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return b.queue.Send(ctx, goqite.Message{Body: body})
}

func (b *goqiteBus) sendMany(ctx context.Context, ns []note) error {
	return inTx(ctx, b.pool, func(tx *sql.Tx) error {
		for _, n := range ns {
			body, err := json.Marshal(n)
			if err != nil {
				return err
			}
			if err := b.queue.SendTx(ctx, tx, goqite.Message{Body: body}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *goqiteBus) work(ctx context.Context, l load) error {
	workers := l.slots(goqiteWorkers)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			errs[i] = b.loop(ctx, l)
			fail(errs[i]) // the others end, too: a loop ends by itself only when it failed
		})
	}
	wg.Wait()
	return firstError(errs)
}

// loop handles messages one by one until ctx ends.
func (b *goqiteBus) loop(ctx context.Context, l load) error {
	one := b.handle
	if l.insert {
		one = b.handleTx
	}
	for ctx.Err() == nil {
		found, err := one(context.WithoutCancel(ctx), l)
		if err != nil {
			return err
		}
		if !found {
			pause(ctx, goqitePoll)
		}
	}
	return nil
}

// handle is at least once.
func (b *goqiteBus) handle(ctx context.Context, l load) (bool, error) {
	m, err := b.queue.Receive(ctx)
	if err != nil || m == nil {
		return false, err
	}
	var n note
	if err := json.Unmarshal(m.Body, &n); err != nil {
		return false, err
	}
	l.seen(n)
	return true, b.queue.Delete(ctx, m.ID)
}

// handleTx commits the INSERT together with the completion.
func (b *goqiteBus) handleTx(ctx context.Context, l load) (found bool, err error) {
	err = inTx(ctx, b.pool, func(tx *sql.Tx) error {
		m, err := b.queue.ReceiveTx(ctx, tx)
		if err != nil || m == nil {
			return err
		}
		var n note
		if err := json.Unmarshal(m.Body, &n); err != nil {
			return err
		}
		found = true
		l.seen(n)
		if _, err := tx.ExecContext(ctx, effectInsert, n.N, n.Text); err != nil {
			return err
		}
		return b.queue.DeleteTx(ctx, tx, m.ID)
	})
	return found, err
}

func (b *goqiteBus) left(ctx context.Context) (int, error) {
	return count(ctx, b.pool, "select count(*) from goqite")
}

func (b *goqiteBus) db() *sql.DB  { return b.pool }
func (b *goqiteBus) close() error { return b.pool.Close() }

// inTx runs fn in a transaction.
func inTx(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
