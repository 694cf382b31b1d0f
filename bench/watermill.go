package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
)

// watermillTopic is the topic, and part of the names of Watermill's tables.
const watermillTopic = "notes"

// watermillPoll is how often an idle subscriber looks for messages.
const watermillPoll = 5 * time.Millisecond

// watermillModule is the Go module of Watermill's SQL transports.
const watermillModule = "github.com/ThreeDotsLabs/watermill-sql/v4"

// watermillSystem is Watermill's log with offsets. Its subscriber hands out one
// message at a time, in order.
func watermillSystem(k kind) system {
	return system{
		subject: subject{k.name, "watermill"},
		title:   "Watermill (log)", module: watermillModule,
		settings: "log with offsets, one subscriber, batches of 100, poll every 5 ms; Publish of many; with the INSERT: " +
			"in the subscriber's transaction",
		lacks:   "it has no retry with a delay, no priority, no dead letters",
		without: []string{"handle-tx-alone", "handle-queued"},
	}
}

func watermillPostgresSystem() system {
	s := watermillSystem(postgresKind())
	s.backlog = 40_000 // no more, though Posthorn has more: each select sorts the whole backlog
	s.open = func(ctx context.Context, address string, _ load) (bus, error) {
		b, err := newWatermillOnPostgres(ctx, address)
		if err != nil {
			return nil, err
		}
		b.schema = wsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 100}
		b.offsets = wsql.DefaultPostgreSQLOffsetsAdapter{}
		b.pending = `select count(*) from watermill_notes m where not exists (select from watermill_offsets_notes o
			where (m.transaction_id, m."offset") <= (o.last_processed_transaction_id, o.offset_acked))`
		return b.prepared()
	}
	return s
}

// watermillQueueSystem is Watermill's queue on PostgreSQL, which deletes what
// was acknowledged. With larger batches it is many times faster, and loses the
// unhandled rest of a batch when it is closed.
func watermillQueueSystem() system {
	s := watermillSystem(postgresKind())
	s.System, s.title = "watermill-queue", "Watermill (queue)"
	s.backlog, s.backlogTx = 1500, 1200
	s.settings = "queue with deletion, one subscriber, batches of 1 (larger ones lose messages on Close), poll every " +
		"5 ms; Publish of many; with the INSERT: in the subscriber's transaction"
	s.open = func(ctx context.Context, address string, _ load) (bus, error) {
		b, err := newWatermillOnPostgres(ctx, address)
		if err != nil {
			return nil, err
		}
		b.schema = wsql.PostgreSQLQueueSchema{SubscribeBatchSize: 1}
		b.offsets = wsql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: true}
		b.pending = `select count(*) from watermill_notes`
		return b.prepared()
	}
	return s
}

func watermillMariaDBSystem() system {
	s := watermillSystem(mariadbKind())
	s.backlog, s.backlogTx = 9000, 5000
	s.open = func(_ context.Context, address string, _ load) (bus, error) {
		db, err := openMariaDBPool(address, peerConnections)
		if err != nil {
			return nil, err
		}
		return (&watermillBus{
			pool: db, beginner: wsql.BeginnerFromStdSQL(db), shut: db.Close, effect: effectInsert,
			schema:  wsql.DefaultMySQLSchema{SubscribeBatchSize: 100},
			offsets: wsql.DefaultMySQLOffsetsAdapter{},
			pending: "select count(*) from watermill_notes where `offset` > coalesce(" +
				"(select max(offset_acked) from watermill_offsets_notes), 0)",
		}).prepared()
	}
	return s
}

// A watermillBus is an opened publisher, and what a subscriber needs.
type watermillBus struct {
	pool      *sql.DB
	beginner  wsql.Beginner
	schema    wsql.SchemaAdapter
	offsets   wsql.OffsetsAdapter
	publisher *wsql.Publisher
	effect    string
	pending   string // counts what is not done
	shut      func() error
}

func newWatermillOnPostgres(ctx context.Context, address string) (*watermillBus, error) {
	pool, err := openPgPool(ctx, address, peerConnections)
	if err != nil {
		return nil, err
	}
	return &watermillBus{
		pool: pool.std, beginner: wsql.BeginnerFromPgx(pool.native), shut: pool.close, effect: effectInsertNumbered,
	}, nil
}

// prepared makes Watermill's tables and the publisher.
func (b *watermillBus) prepared() (bus, error) {
	s, err := b.subscriber()
	if err == nil {
		err = s.SubscribeInitialize(watermillTopic)
	}
	if err == nil {
		b.publisher, err = wsql.NewPublisher(b.beginner, wsql.PublisherConfig{SchemaAdapter: b.schema}, nil)
	}
	if err != nil {
		return nil, errors.Join(err, b.shut())
	}
	return b, nil
}

func (b *watermillBus) subscriber() (*wsql.Subscriber, error) {
	return wsql.NewSubscriber(b.beginner, wsql.SubscriberConfig{
		SchemaAdapter: b.schema, OffsetsAdapter: b.offsets,
		PollInterval: watermillPoll, RetryInterval: watermillPoll, ResendInterval: watermillPoll,
	}, nil)
}

func (b *watermillBus) send(ctx context.Context, n note) error { return b.sendMany(ctx, []note{n}) }

func (b *watermillBus) sendMany(ctx context.Context, ns []note) error {
	ms := make([]*message.Message, len(ns))
	for i, n := range ns {
		body, err := json.Marshal(n)
		if err != nil {
			return err
		}
		ms[i] = message.NewMessage(watermill.NewUUID(), body)
		ms[i].SetContext(ctx)
	}
	return b.publisher.Publish(watermillTopic, ms...)
}

func (b *watermillBus) work(ctx context.Context, l load) error {
	s, err := b.subscriber()
	if err != nil {
		return err
	}
	in, err := s.Subscribe(context.WithoutCancel(ctx), watermillTopic)
	if err != nil {
		return err
	}
	for {
		select {
		case m, open := <-in:
			if !open {
				return errors.New("the subscriber ended")
			}
			if err := b.handle(m, l); err != nil {
				return errors.Join(err, s.Close())
			}
			m.Ack()
		case <-ctx.Done():
			return s.Close()
		}
	}
}

// handle handles one message.
func (b *watermillBus) handle(m *message.Message, l load) error {
	var n note
	if err := json.Unmarshal(m.Payload, &n); err != nil {
		return err
	}
	l.seen(n)
	if !l.insert {
		return nil
	}
	tx, ok := wsql.TxFromContext(m.Context())
	if !ok {
		return errors.New("the message has no transaction")
	}
	_, err := tx.ExecContext(m.Context(), b.effect, n.N, n.Text)
	return err
}

func (b *watermillBus) left(ctx context.Context) (int, error) { return count(ctx, b.pool, b.pending) }
func (b *watermillBus) db() *sql.DB                           { return b.pool }
func (b *watermillBus) close() error                          { return b.shut() }
