package posthorn

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/posthorn/posthorn/driver"
)

// DefaultQueue is where messages go that nothing routes elsewhere.
const DefaultQueue = "default"

// DispatcherOptions are the optional settings of a Dispatcher.
type DispatcherOptions struct {
	Queue  string            // for kinds without a route; empty means DefaultQueue
	Routes map[string]string // kind → queue
	// Middleware runs around each send, the first one outermost.
	Middleware []SendMiddleware
}

// A SendMiddleware runs around the sending of messages by a Dispatcher or by a Tx, also
// inside a transaction, before it is known whether that will commit. It calls next once,
// or not at all. It may change the envelopes before that, but not their ids, and not the
// maps in them: it puts another one in their place.
type SendMiddleware func(ctx context.Context, envs []driver.Envelope, next func(context.Context) error) error

// A Dispatcher sends messages to a transport. It is safe for concurrent use.
type Dispatcher struct {
	transport driver.Transport
	caps      driver.Capabilities
	queue     string
	routes    map[string]string

	middleware []SendMiddleware
}

// NewDispatcher returns a dispatcher that sends to t. It does not own t. It
// fails when a queue's name is not usable.
func NewDispatcher(t driver.Transport, o DispatcherOptions) (*Dispatcher, error) {
	d := &Dispatcher{
		transport: t, caps: t.Capabilities(),
		queue: orDefault(o.Queue, DefaultQueue), routes: maps.Clone(o.Routes),
		middleware: slices.Clone(o.Middleware),
	}
	if err := driver.CheckQueue(d.queue); err != nil {
		return nil, err
	}
	for kind, queue := range d.routes {
		if err := driver.CheckQueue(queue); err != nil {
			return nil, fmt.Errorf("route of %s: %w", kind, err)
		}
	}
	return d, nil
}

// A DispatchOption changes how one message is sent.
type DispatchOption func(*driver.Envelope)

// WithDelay makes the message due after d, by the transport's clock.
func WithDelay(d time.Duration) DispatchOption {
	return func(e *driver.Envelope) { e.Delay = max(d, 0) }
}

// WithTime makes the message due at t; a time in the past means at once.
func WithTime(t time.Time) DispatchOption { return func(e *driver.Envelope) { e.NotBefore = t } }

// WithPriority sets the priority; higher is handled first. The default is 0.
func WithPriority(p int) DispatchOption { return func(e *driver.Envelope) { e.Priority = p } }

// WithQueue sends to another queue than the kind's route says.
func WithQueue(name string) DispatchOption { return func(e *driver.Envelope) { e.Queue = name } }

// WithID gives the message an id of the caller's choice. While a message with
// this id is live, another is refused with driver.ErrDuplicate.
func WithID(id string) DispatchOption { return func(e *driver.Envelope) { e.ID = id } }

// WithHeader adds a header field.
func WithHeader(key, value string) DispatchOption {
	return func(e *driver.Envelope) {
		h := maps.Clone(e.Header)
		if h == nil {
			h = map[string]string{}
		}
		h[key] = value
		e.Header = h
	}
}

// Dispatch validates the message and sends it. When it returns nil the message
// has been accepted, and is as durable as the transport's capabilities say. It
// returns the message's id. Errors: *InvalidError, and those of
// driver.Transport.Send.
func (d *Dispatcher) Dispatch(ctx context.Context, msg Message, opts ...DispatchOption) (string, error) {
	env, err := d.seal(msg, opts)
	if err != nil {
		return "", err
	}
	return env.ID, d.send(ctx, unlessTried(d.transport.Send), env)
}

// A sender is the end of a send: the transport's, or one inside a transaction.
type sender func(ctx context.Context, envs ...driver.Envelope) error

// recordKey is the context key of what WithoutSending was given.
type recordKey struct{}

// WithoutSending returns a context in which every Dispatcher hands the messages that it
// would send outside the transaction of a handler to record, and sends none. It is
// for trying handlers; record may be called concurrently. Tx.Dispatch still sends in its
// transaction.
func WithoutSending(ctx context.Context, record func(envs ...driver.Envelope)) context.Context {
	return context.WithValue(ctx, recordKey{}, record)
}

// unlessTried is the end of a send outside a handler's transaction.
func unlessTried(end sender) sender {
	return func(ctx context.Context, envs ...driver.Envelope) error {
		if record, ok := ctx.Value(recordKey{}).(func(...driver.Envelope)); ok {
			record(envs...)
			return nil
		}
		return end(ctx, envs...)
	}
}

// send sends through the middleware.
func (d *Dispatcher) send(ctx context.Context, end sender, envs ...driver.Envelope) error {
	return sendFrom(ctx, d.middleware, envs, end)
}

func sendFrom(ctx context.Context, mws []SendMiddleware, envs []driver.Envelope, end sender) error {
	if len(mws) == 0 {
		return end(ctx, envs...)
	}
	return mws[0](ctx, envs, func(ctx context.Context) error { return sendFrom(ctx, mws[1:], envs, end) })
}

// DispatchMany sends all the messages or none, with the same options. It
// returns their ids in order.
func (d *Dispatcher) DispatchMany(ctx context.Context, msgs []Message, opts ...DispatchOption) ([]string, error) {
	envs, ids := make([]driver.Envelope, len(msgs)), make([]string, len(msgs))
	for i, msg := range msgs {
		env, err := d.seal(msg, opts)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		envs[i], ids[i] = env, env.ID
	}
	if len(envs) == 0 {
		return nil, nil
	}
	return ids, d.send(ctx, unlessTried(d.transport.Send), envs...)
}

// DispatchTx sends in the caller's own transaction, which must be one on the
// database of the transport's store: the message exists when the caller has
// committed. It fails with driver.ErrUnsupported on a transport that is not in
// a database, and with driver.ErrWrongStore in a transaction on another one.
func (d *Dispatcher) DispatchTx(
	ctx context.Context, tx *sql.Tx, msg Message, opts ...DispatchOption,
) (string, error) {
	t := driver.RolesOf(d.transport).Transactor
	if t == nil {
		return "", fmt.Errorf("dispatch in a transaction: %w", driver.ErrUnsupported)
	}
	env, err := d.seal(msg, opts)
	if err != nil {
		return "", err
	}
	return env.ID, d.send(ctx, unlessTried(func(ctx context.Context, envs ...driver.Envelope) error {
		return t.SendTx(ctx, tx, envs...)
	}), env)
}

// DispatchRaw sends a body that is encoded already. It is not validated: only
// the kind's handler could do that.
func (d *Dispatcher) DispatchRaw(
	ctx context.Context, kind string, body []byte, opts ...DispatchOption,
) (string, error) {
	env, err := d.Envelope(kind, body, opts...)
	if err != nil {
		return "", err
	}
	return env.ID, d.send(ctx, unlessTried(d.transport.Send), env)
}

// Envelope makes and checks the envelope that DispatchRaw would send.
func (d *Dispatcher) Envelope(kind string, body []byte, opts ...DispatchOption) (driver.Envelope, error) {
	env := driver.Envelope{Kind: kind, Queue: orDefault(d.routes[kind], d.queue), Body: body}
	for _, opt := range opts {
		opt(&env)
	}
	if env.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return env, fmt.Errorf("make id: %w", err)
		}
		env.ID = id.String()
	}
	if err := driver.CheckSend(d.caps, env); err != nil {
		return env, err
	}
	return env, nil
}

// seal validates and encodes a message.
func (d *Dispatcher) seal(msg Message, opts []DispatchOption) (driver.Envelope, error) {
	if msg == nil {
		return driver.Envelope{}, errors.New("dispatch: the message is nil")
	}
	if v, ok := msg.(Validator); ok {
		if err := v.Validate(); err != nil {
			return driver.Envelope{}, &InvalidError{Err: err}
		}
	}
	body, err := json.Marshal(msg)
	if err != nil {
		return driver.Envelope{}, fmt.Errorf("encode %s: %w", msg.Kind(), err)
	}
	return d.Envelope(msg.Kind(), body, opts...)
}
