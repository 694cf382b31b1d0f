package tracing

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Beginnings are what the spans of one operation begin with, by queue. They are made
// once: most spans are sampled by nobody, and must not cost more than they have to. The
// conventions ask for just these attributes before the sampler decides; all else is added
// to a span that is recorded.
type beginnings struct {
	operation string
	kind      trace.SpanKind

	mu      sync.RWMutex
	byQueue map[string]beginning
}

// A beginning is a span's name, and what it is started with. Nobody changes it.
type beginning struct {
	name    string
	options []trace.SpanStartOption
}

// maxBeginnings bounds how many are kept.
const maxBeginnings = 1000

// of is the beginning for a queue; an empty one is for messages of several queues.
func (b *beginnings) of(queue string) beginning {
	b.mu.RLock()
	made, ok := b.byQueue[queue]
	b.mu.RUnlock()
	if ok {
		return made
	}
	made = b.make(queue)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byQueue == nil {
		b.byQueue = map[string]beginning{}
	}
	if len(b.byQueue) < maxBeginnings {
		b.byQueue[queue] = made
	}
	return made
}

func (b *beginnings) make(queue string) beginning {
	name, attributes := b.operation, []attribute.KeyValue{
		attribute.String("messaging.system", "posthorn"),
		attribute.String("messaging.operation.name", b.operation),
		attribute.String("messaging.operation.type", b.operation),
	}
	if queue != "" {
		name += " " + queue
		attributes = append(attributes, attribute.String("messaging.destination.name", queue))
	}
	return beginning{name, []trace.SpanStartOption{
		trace.WithSpanKind(b.kind), trace.WithAttributes(attributes...),
	}}
}
