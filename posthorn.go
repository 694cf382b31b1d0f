// Package posthorn handles messages in the background: inside transactions
// that cannot poison a worker, with retries, dead letters and graceful stops.
//
// An application says what it wants done as a [Message], registers a handler
// for its kind on a [Mux], and sends it with a [Dispatcher]. A worker (package
// worker, or the command line of package cli) runs the handlers.
//
// There are three kinds of handler. [Handle] is at least once: the message is
// acknowledged after the handler returned. [HandleTx] runs the whole handler in
// one transaction together with the acknowledgement. [HandleEffect] runs slow
// work first, without a transaction, and then an [Effect] in the transaction;
// it is the one to prefer.
package posthorn

import (
	"context"
	"log/slog"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
)

// A Message is what an application wants done. It is encoded as JSON. Fields that nobody
// should read who looks after the messages are tagged posthorn:"secret": see [Secrets].
type Message interface {
	// Kind is the stable name under which the message travels. It must not
	// depend on the message's fields: it is asked of a zero value, too.
	Kind() string
}

// A Validator is a message that can tell whether it makes sense. It is asked
// when the message is dispatched, and again before it is handled.
type Validator interface {
	Validate() error
}

// WithDelivery returns a context that carries the delivery and the logger for
// its handler, as a worker's has them. It is for who runs a handler without a worker:
// a test, or the trial of a dead letter.
func WithDelivery(ctx context.Context, d driver.Delivery, log *slog.Logger) context.Context {
	return context.WithValue(ctx, inhand.Key{}, &inhand.Message{Delivery: &d, Log: log})
}

// DeliveryFrom returns the delivery that the context's handler is working on.
func DeliveryFrom(ctx context.Context) (driver.Delivery, bool) {
	m, ok := ctx.Value(inhand.Key{}).(*inhand.Message)
	if !ok {
		return driver.Delivery{}, false
	}
	return *m.Delivery, true
}

// Logger returns the logger of the message in hand, with its id, kind and trace, or
// slog's default outside a handler.
func Logger(ctx context.Context) *slog.Logger {
	m, ok := ctx.Value(inhand.Key{}).(*inhand.Message)
	if !ok || m.Log == nil {
		return slog.Default()
	}
	log := m.Log.With("message_id", m.Delivery.ID, "kind", m.Delivery.Kind)
	if trace, _ := m.Delivery.TraceID(); trace != "" {
		log = log.With("trace_id", trace)
	}
	return log
}
