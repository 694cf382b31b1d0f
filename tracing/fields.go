package tracing

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"

	"github.com/posthorn/posthorn/driver"
)

// headerDue is the header field in which a message that was sent for later carries when:
// "+" and milliseconds from its acceptance, or "@" and milliseconds since 1970. It tells
// its first try from a dead letter that was put back.
const headerDue = "posthorn-due"

// inject gives the context of the send to the messages that carry none. A message whose
// header has no room goes without.
func inject(ctx context.Context, envs []driver.Envelope) {
	alone := map[string]string{} // shared by all that have nothing else: nobody changes it
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(alone))
	for i := range envs {
		e := &envs[i]
		switch {
		case e.Header[driver.HeaderTraceparent] != "":
		case len(e.Header) == 0 && e.Delay <= 0 && e.NotBefore.IsZero():
			e.Header = alone
		default:
			add(e, alone)
		}
	}
}

// add adds header fields to a message, if there is room.
func add(e *driver.Envelope, more map[string]string) {
	fields := maps.Clone(e.Header)
	if fields == nil {
		fields = make(map[string]string, len(more)+1)
	}
	maps.Copy(fields, more)
	switch {
	case e.Delay > 0:
		fields[headerDue] = "+" + strconv.FormatInt(e.Delay.Milliseconds(), 10)
	case !e.NotBefore.IsZero():
		fields[headerDue] = "@" + strconv.FormatInt(e.NotBefore.UnixMilli(), 10)
	}
	with := *e
	with.Header = fields
	if with.Check(len(e.Body)) == nil {
		e.Header = fields
	}
}

// firstTry reports whether a message has never been delivered before.
func firstTry(d driver.Delivery) bool {
	if d.Deliveries > 1 || d.Attempt > 0 || d.Crashes > 0 {
		return false
	}
	return d.SentAt.IsZero() || d.NotBefore.IsZero() || !d.NotBefore.After(due(d).Add(dueTolerance))
}

// dueTolerance is what is lost when times are written in milliseconds.
const dueTolerance = 2 * time.Millisecond

// due is when the message had to become due as it was sent. One that was put back from the
// dead letters is due later than that.
func due(d driver.Delivery) time.Time {
	field := d.Header[headerDue]
	if len(field) < 2 {
		return d.SentAt
	}
	ms, err := strconv.ParseInt(field[1:], 10, 64)
	switch {
	case err != nil || ms < 0:
		return d.SentAt
	case field[0] == '@':
		return later(time.UnixMilli(ms), d.SentAt)
	default:
		return d.SentAt.Add(time.Duration(ms) * time.Millisecond)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// commonQueue is the queue that all the messages go to, if there is one.
func commonQueue(envs []driver.Envelope) string {
	for _, e := range envs[1:] {
		if e.Queue != envs[0].Queue {
			return ""
		}
	}
	return envs[0].Queue
}

// sendAttributes are those that spans of one queue do not have in common.
func sendAttributes(envs []driver.Envelope) []attribute.KeyValue {
	if len(envs) > 1 {
		return []attribute.KeyValue{attribute.Int("messaging.batch.message_count", len(envs))}
	}
	return messageAttributes(make([]attribute.KeyValue, 0, mostAttributes), envs[0])
}

func handleAttributes(d driver.Delivery) []attribute.KeyValue {
	out := messageAttributes(make([]attribute.KeyValue, 0, mostAttributes), d.Envelope)
	return append(out, attribute.Int("posthorn.message.attempt", d.Attempt+1),
		attribute.Int("posthorn.message.deliveries", d.Deliveries))
}

// mostAttributes is how many a message's span has of its own.
const mostAttributes = 5

func messageAttributes(to []attribute.KeyValue, e driver.Envelope) []attribute.KeyValue {
	return append(to,
		attribute.String("messaging.message.id", e.ID),
		attribute.Int("messaging.message.body.size", len(e.Body)),
		attribute.String("posthorn.message.kind", e.Kind),
	)
}

// sendError names why a send failed, in few words that are known beforehand.
func sendError(err error) string {
	if err == nil {
		return ""
	}
	for _, known := range []struct {
		is   error
		name string
	}{
		{driver.ErrOutcomeUnknown, "outcome_unknown"}, {driver.ErrUnavailable, "unavailable"},
		{driver.ErrDuplicate, "duplicate"}, {driver.ErrTooLarge, "too_large"}, {driver.ErrInvalid, "invalid"},
		{driver.ErrUnsupported, "unsupported"}, {context.Canceled, "canceled"},
		{context.DeadlineExceeded, "deadline_exceeded"},
	} {
		if errors.Is(err, known.is) {
			return known.name
		}
	}
	return "_OTHER" // the conventions' word for what has no name
}

// errorType is a class as error.type. A class that an application chose is kept only if
// it is a plain word.
func errorType(c driver.Class) string {
	plain := strings.IndexFunc(string(c), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) < 0
	if plain && c != "" && len(c) <= maxClass {
		return string(c)
	}
	return "_OTHER"
}

// maxClass bounds the name of a class.
const maxClass = 40
