package posthorn

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// DefaultTimeout bounds a handler that was registered without WithTimeout.
const DefaultTimeout = time.Minute

// A Mux finds the handler for a message by its kind. Register all the handlers
// before a worker starts; after that it is safe for concurrent use.
type Mux struct {
	handlers   map[string]*Handler
	middleware []Middleware
}

// NewMux returns a Mux without handlers.
func NewMux() *Mux { return &Mux{handlers: map[string]*Handler{}} }

// A Middleware runs around a handler: it calls next once, or not at all. What
// it wraps is the function given to Handle and HandleTx, and the slow part of
// HandleEffect; around HandleTx it runs inside the transaction.
type Middleware func(ctx context.Context, d driver.Delivery, next func(context.Context) error) error

// Use adds middleware, the first one outermost, to every handler of the Mux.
func (m *Mux) Use(mw ...Middleware) { m.middleware = append(m.middleware, mw...) }

// Kinds lists the kinds that have a handler, in order.
func (m *Mux) Kinds() []string { return slices.Sorted(maps.Keys(m.handlers)) }

// Handler returns the handler for a kind.
func (m *Mux) Handler(kind string) (*Handler, bool) {
	h, ok := m.handlers[kind]
	return h, ok
}

// A Handler is a registered handler as a worker sees it.
type Handler struct {
	kind    string
	timeout time.Duration
	retry   *RetryPolicy
	tx, raw bool
	slow    bool // it does something before its transaction
	secrets Secrets
	decode  func(body []byte) (msg any, err error) // a pointer to the message
	check   func(msg any) error                    // asks such a message; nil: it is no Validator
	start   func(ctx context.Context, d driver.Delivery, msg any) (Effect, error)
}

// Kind is the kind of message that it handles.
func (h *Handler) Kind() string { return h.kind }

// Timeout bounds the slow part and the effect, each.
func (h *Handler) Timeout() time.Duration { return h.timeout }

// Retry is its own retry policy, or nil for its transport's.
func (h *Handler) Retry() *RetryPolicy { return h.retry }

// Transactional reports whether it needs a transport with transactions.
func (h *Handler) Transactional() bool { return h.tx }

// Alone reports whether it needs a transaction of its own.
func (h *Handler) Alone() bool { return h.raw }

// Slow reports whether Start runs a part of the handler before its transaction, which a
// rollback does not undo.
func (h *Handler) Slow() bool { return h.slow }

// Check decodes and validates a body. Its error is a *DecodeError or an
// *InvalidError.
func (h *Handler) Check(body []byte) error {
	_, err := h.open(body)
	return err
}

// Start decodes and validates the message and runs the slow part of its
// handler. What it returns is nil for a message that only needs to be
// acknowledged, else the effect that must commit with the acknowledgement. A
// panic is returned as a *PanicError.
func (h *Handler) Start(ctx context.Context, d driver.Delivery) (effect Effect, err error) {
	defer recoverTo(&err)
	msg, err := h.open(d.Body)
	if err != nil {
		return nil, err
	}
	return h.start(ctx, d, msg)
}

func (h *Handler) open(body []byte) (msg any, err error) {
	defer func() { // a hostile UnmarshalJSON or Validate may panic, too
		if v := recover(); v != nil {
			err = &DecodeError{Err: fmt.Errorf("panic: %v", v)}
		}
	}()
	if msg, err = h.decode(body); err != nil {
		return nil, &DecodeError{Err: err}
	}
	if h.check != nil {
		if err := h.check(msg); err != nil {
			return nil, &InvalidError{Err: err}
		}
	}
	return msg, nil
}

// A HandlerOption changes one handler.
type HandlerOption func(*Handler)

// WithTimeout bounds the handler: its context ends after d. For HandleEffect
// the slow part and the effect have d each. The default is one minute.
func WithTimeout(d time.Duration) HandlerOption { return func(h *Handler) { h.timeout = d } }

// WithRetry gives the handler a retry policy of its own.
func WithRetry(p RetryPolicy) HandlerOption { return func(h *Handler) { h.retry = &p } }

// WithRawTx gives the handler a transaction of its own with Tx.SQL, for an ORM
// that wants a *sql.Tx. It takes no part in group commit.
func WithRawTx() HandlerOption { return func(h *Handler) { h.raw = true } }

// Handle registers a handler that is run at least once for each message: the
// message is acknowledged after fn returned nil. It panics when the kind is
// not usable or has a handler already, or when a tag of T means nothing. What T
// marks by posthorn:"secret" is hidden where messages are shown: see [Secrets].
func Handle[T Message](m *Mux, fn func(ctx context.Context, msg T) error, opts ...HandlerOption) {
	register[T](m, &Handler{start: func(ctx context.Context, d driver.Delivery, msg any) (Effect, error) {
		if len(m.middleware) == 0 {
			return nil, fn(ctx, *msg.(*T))
		}
		return nil, m.wrap(ctx, d, func(ctx context.Context) error { return fn(ctx, *msg.(*T)) })
	}}, opts)
}

// HandleTx registers a handler that runs in one transaction together with the
// acknowledgement: for each message exactly one set of its effects is
// committed, or none and a dead letter. fn may run more than once, as an Effect does. It
// panics like Handle.
func HandleTx[T Message](m *Mux, fn func(ctx context.Context, tx *Tx, msg T) error, opts ...HandlerOption) {
	register[T](m, &Handler{tx: true, start: func(_ context.Context, d driver.Delivery, msg any) (Effect, error) {
		return func(ctx context.Context, tx *Tx) error {
			if len(m.middleware) == 0 {
				return fn(ctx, tx, *msg.(*T))
			}
			return m.wrap(ctx, d, func(ctx context.Context) error { return fn(ctx, tx, *msg.(*T)) })
		}, nil
	}}, opts)
}

// HandleEffect registers a handler in two parts. fn does the slow work, with
// no transaction and no connection held; the Effect that it returns runs in
// the transaction with the acknowledgement. fn may run more than once for a
// message; the effect commits once. A nil Effect only acknowledges. It panics
// like Handle.
func HandleEffect[T Message](m *Mux, fn func(ctx context.Context, msg T) (Effect, error), opts ...HandlerOption) {
	register[T](m, &Handler{tx: true, slow: true, start: func(
		ctx context.Context, d driver.Delivery, msg any,
	) (Effect, error) {
		var effect Effect
		err := m.wrap(ctx, d, func(ctx context.Context) (err error) {
			effect, err = fn(ctx, *msg.(*T))
			return err
		})
		return effect, err
	}}, opts)
}

func register[T Message](m *Mux, h *Handler, opts []HandlerOption) {
	var zero T
	h.kind, h.timeout = zero.Kind(), DefaultTimeout
	h.decode = func(body []byte) (any, error) {
		msg := new(T)
		err := json.Unmarshal(body, msg)
		return msg, err
	}
	if _, ok := any(zero).(Validator); ok {
		h.check = func(msg any) error { return any(*msg.(*T)).(Validator).Validate() }
	}
	for _, opt := range opts {
		opt(h)
	}
	err := h.usable()
	if err == nil {
		h.secrets, err = secretsOf(reflect.TypeFor[T]())
	}
	if err != nil {
		panic(fmt.Sprintf("posthorn: register %T: %v", zero, err))
	}
	if _, taken := m.handlers[h.kind]; taken {
		panic(fmt.Sprintf("posthorn: register %T: kind %q has a handler already", zero, h.kind))
	}
	m.handlers[h.kind] = h
}

// usable reports what is wrong with its options.
func (h *Handler) usable() error {
	if h.timeout <= 0 {
		return fmt.Errorf("timeout %s is not positive", h.timeout)
	}
	if h.retry != nil {
		if err := h.retry.Check(); err != nil {
			return err
		}
	}
	return driver.Envelope{ID: "x", Queue: "x", Kind: h.kind}.Check(0)
}

// wrap runs fn inside the middleware.
func (m *Mux) wrap(ctx context.Context, d driver.Delivery, fn func(context.Context) error) error {
	return wrapFrom(ctx, m.middleware, d, fn)
}

func wrapFrom(ctx context.Context, mws []Middleware, d driver.Delivery, fn func(context.Context) error) error {
	if len(mws) == 0 {
		return fn(ctx)
	}
	return mws[0](ctx, d, func(ctx context.Context) error { return wrapFrom(ctx, mws[1:], d, fn) })
}
