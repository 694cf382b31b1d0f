// Package tracing tells OpenTelemetry of the messages that are sent and handled.
//
// It follows the messaging part of the OpenTelemetry Semantic Conventions 1.45.0
// (status: development) and W3C Trace Context. It needs the OpenTelemetry API only: an
// application brings the SDK, the exporter and the sampler.
//
//	t := tracing.New(provider)
//	mux.Use(t.Handle)
//	d, err := posthorn.NewDispatcher(store, posthorn.DispatcherOptions{
//		Middleware: []posthorn.SendMiddleware{t.Send},
//	})
//
// A send is a span of kind producer, and its context travels in the header of the
// message. The handler runs in a span of kind consumer. Of the first try it is a child of
// the send's; a retry, a second delivery and a dead letter that was put back begin a
// trace of their own, with a link to the send's: they may come days later, when the trace
// has long been judged. What HandleEffect commits afterwards is in no span of Posthorn's.
//
// No span carries a body, a header, or the text of an error: those may be secret.
package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// scope is the name of the instrumentation.
const scope = "github.com/posthorn/posthorn/tracing"

// schema is the version of the conventions.
const schema = "https://opentelemetry.io/schemas/1.45.0"

// A Tracer makes the spans. It is safe for concurrent use.
type Tracer struct {
	tracer      trace.Tracer
	off         bool
	parentBased bool
	sampledOnly bool

	sends, handles beginnings
}

// An Option changes a Tracer.
type Option func(*Tracer)

// WithParentBased says that the sampler of the provider is parent-based, as the SDK's own
// default is and OTEL_TRACES_SAMPLER=parentbased_* are: it samples no span whose parent is
// not sampled. Such a span is not even begun then, and the parent's context goes on in its
// place, which saves what it costs to ask the SDK. With another sampler, spans that it
// wants would be missing.
func WithParentBased() Option { return func(t *Tracer) { t.parentBased = true } }

// WithSampledOnly says that only traces that are sampled travel: a message that is sent in
// another one carries no context, and a handler has a span only where its message carries
// a sampled one. Whatever else the handler calls is told that nothing is sampled, so that
// no piece of a trace begins there. It includes WithParentBased, and saves the header, which is
// most of what an unsampled trace costs. Log lines of such messages name no trace, and
// messages of a producer that does not trace are in none.
func WithSampledOnly() Option { return func(t *Tracer) { t.parentBased, t.sampledOnly = true, true } }

// New makes a Tracer whose spans go to a provider. A nil provider makes one that does
// nothing at all.
func New(p trace.TracerProvider, opts ...Option) *Tracer {
	if p == nil {
		return &Tracer{tracer: noop.Tracer{}, off: true}
	}
	t := &Tracer{
		tracer:  p.Tracer(scope, trace.WithSchemaURL(schema)),
		sends:   beginnings{operation: "send", kind: trace.SpanKindProducer},
		handles: beginnings{operation: "process", kind: trace.SpanKindConsumer},
	}
	for _, opt := range opts {
		opt(t)
	}
	return t
}

// decided reports whether the parent in a context has already decided that its children
// are not sampled.
func (t *Tracer) decided(ctx context.Context) bool {
	if !t.parentBased {
		return false
	}
	parent := trace.SpanContextFromContext(ctx)
	return parent.IsValid() && !parent.IsSampled()
}

// Send is a posthorn.SendMiddleware: it makes the producer's span, and gives its context
// to the messages that carry none yet.
func (t *Tracer) Send(ctx context.Context, envs []driver.Envelope, next func(context.Context) error) error {
	if t.off || len(envs) == 0 {
		return next(ctx)
	}
	if t.decided(ctx) {
		t.inject(ctx, envs)
		return next(ctx)
	}
	b := t.sends.of(commonQueue(envs))
	ctx, span := t.tracer.Start(ctx, b.name, b.options...)
	defer endUnreturned(span)
	if span.IsRecording() {
		span.SetAttributes(sendAttributes(envs)...)
	}
	t.inject(ctx, envs)
	err := next(ctx)
	end(span, sendError(err))
	return err
}

// Handle is a posthorn.Middleware: it runs the handler in a consumer's span.
func (t *Tracer) Handle(ctx context.Context, d driver.Delivery, next func(context.Context) error) error {
	if t.off {
		return next(ctx)
	}
	ctx, span := t.start(ctx, d)
	if !span.IsRecording() {
		defer span.End()
		return next(ctx)
	}
	defer endUnreturned(span)
	err := next(ctx)
	switch class := posthorn.ClassOf(err); class {
	case driver.ClassDone, driver.ClassSnooze:
		end(span, "")
	default:
		end(span, errorType(class))
	}
	return err
}

// inject gives the context of the send to the messages that carry none.
func (t *Tracer) inject(ctx context.Context, envs []driver.Envelope) {
	if !t.sampledOnly || trace.SpanContextFromContext(ctx).IsSampled() {
		inject(ctx, envs)
	}
}

// start begins the span of a handler.
func (t *Tracer) start(ctx context.Context, d driver.Delivery) (context.Context, trace.Span) {
	b := t.handles.of(d.Queue)
	opts := b.options
	sent, origin := sentIn(ctx, d)
	switch {
	case t.sampledOnly && !origin.IsSampled():
		return unsampled(ctx), noop.Span{}
	case !origin.IsValid():
	case firstTry(d):
		ctx = sent
		if t.decided(ctx) {
			return ctx, noop.Span{}
		}
	default:
		link := trace.WithLinks(trace.Link{SpanContext: origin})
		opts = append(slices.Clip(opts), trace.WithNewRoot(), link)
	}
	ctx, span := t.tracer.Start(ctx, b.name, opts...)
	if span.IsRecording() {
		span.SetAttributes(handleAttributes(d)...)
	}
	return ctx, span
}

// sentIn is the span in which a message was sent, and a context with it. Neither is valid
// where the message carries none.
func sentIn(ctx context.Context, d driver.Delivery) (sent context.Context, origin trace.SpanContext) {
	if d.Header[driver.HeaderTraceparent] == "" {
		return ctx, origin
	}
	sent = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(d.Header))
	if in := trace.SpanContextFromContext(sent); in.IsRemote() {
		origin = in
	}
	return sent, origin
}

// unsampled tells all that is called that nobody looks at what it is a part of.
func unsampled(ctx context.Context) context.Context {
	var c trace.SpanContextConfig
	binary.NativeEndian.PutUint64(c.TraceID[:], rand.Uint64())
	binary.NativeEndian.PutUint64(c.TraceID[8:], rand.Uint64())
	binary.NativeEndian.PutUint64(c.SpanID[:], rand.Uint64()|1) // not zero, which would be no span
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
}

// end closes a span; errorType is empty for one that did well.
func end(span trace.Span, errorType string) {
	if errorType != "" {
		span.SetAttributes(attribute.String("error.type", errorType))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// endUnreturned closes the span of a function that panicked, or ended its goroutine. A
// span that is closed is not recording any more.
func endUnreturned(span trace.Span) {
	if span.IsRecording() {
		end(span, string(driver.ClassPanic))
	}
}
