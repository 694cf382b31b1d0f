package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// asynqWorkers is asynq's concurrency: more are not faster, because one loop
// fetches for all of them.
const asynqWorkers = 64

// asynqPoll is how often an idle asynq server looks for messages.
const asynqPoll = 5 * time.Millisecond

// asynqCallers is how many send a backlog at once: asynq has no batches.
const asynqCallers = 64

// asynqSystem is asynq on one of the two Redis servers.
func asynqSystem(k kind) system {
	return system{
		subject: subject{k.name, "asynq"},
		title:   "asynq", module: "github.com/hibiken/asynq", backlog: 8000,
		settings: fmt.Sprintf("concurrency %d, task check interval 5 ms (default: 1 s), a pool of %d connections; "+
			"nothing retained", asynqWorkers, asynqCallers),
		lacks:   "it has no batches and no transaction with an application's database",
		without: []string{"dispatch-many", "handle-tx", "handle-tx-alone", "handle-queued"},
		open:    openAsynq,
	}
}

// An asynqBus is an opened client.
type asynqBus struct {
	redis     asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
}

func openAsynq(_ context.Context, address string, _ load) (bus, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	redis := asynq.RedisClientOpt{Addr: u.Host, PoolSize: asynqCallers}
	return &asynqBus{redis: redis, client: asynq.NewClient(redis), inspector: asynq.NewInspector(redis)}, nil
}

func (b *asynqBus) send(ctx context.Context, n note) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = b.client.EnqueueContext(ctx, asynq.NewTask(n.Kind(), body))
	return err
}

// sendMany fills a backlog: by callers that send one each.
func (b *asynqBus) sendMany(ctx context.Context, ns []note) error {
	errs := make([]error, asynqCallers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for j := i; j < len(ns) && errs[i] == nil; j += asynqCallers {
				errs[i] = b.send(ctx, ns[j])
			}
		})
	}
	wg.Wait()
	return firstError(errs)
}

func (b *asynqBus) work(ctx context.Context, l load) error {
	mux := asynq.NewServeMux()
	mux.HandleFunc(note{}.Kind(), func(_ context.Context, t *asynq.Task) error {
		var n note
		if err := json.Unmarshal(t.Payload(), &n); err != nil {
			return err
		}
		l.seen(n)
		return nil
	})
	s := asynq.NewServer(b.redis, asynq.Config{
		Concurrency: l.slots(asynqWorkers), TaskCheckInterval: asynqPoll, Logger: mute{},
	})
	if err := s.Start(mux); err != nil {
		return err
	}
	<-ctx.Done()
	s.Shutdown()
	return nil
}

func (b *asynqBus) left(context.Context) (int, error) {
	q, err := b.inspector.GetQueueInfo("default")
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return q.Pending + q.Active + q.Scheduled + q.Retry + q.Archived, nil
}

func (b *asynqBus) db() *sql.DB  { return nil }
func (b *asynqBus) close() error { return errors.Join(b.client.Close(), b.inspector.Close()) }

// A mute logger says nothing of starts and stops.
type mute struct{}

func (mute) Debug(...any) {}
func (mute) Info(...any)  {}
func (mute) Warn(...any)  {}
func (mute) Error(...any) {}
func (mute) Fatal(...any) {}
