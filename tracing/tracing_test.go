package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
	"github.com/posthorn/posthorn/tracing"
	"github.com/posthorn/posthorn/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 30 * time.Second

// canary stands where a secret could.
const canary = "c4n4ry\x1b[31m"

// A note is the message of the tests.
type note struct {
	Text string `json:"text"`

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (note) Kind() string { return "note" }

// A rig is a store, a traced dispatcher, and a worker with a traced handler.
type rig struct {
	t     *testing.T
	store *store.Store
	*posthorn.Dispatcher
	spans  *tracetest.InMemoryExporter
	tracer trace.Tracer
	ended  chan worker.Event
}

// newRig runs handle for each note.
func newRig(t *testing.T, handle func(ctx context.Context, d driver.Delivery) error) *rig {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter), sdk.WithSyncer(witness.Exporter{}))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	s, err := sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "s.db")+"?synchronous=normal", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tr := tracing.New(provider)
	d, err := posthorn.NewDispatcher(s, posthorn.DispatcherOptions{Middleware: []posthorn.SendMiddleware{tr.Send}})
	if err != nil {
		t.Fatal(err)
	}
	mux := posthorn.NewMux()
	mux.Use(tr.Handle)
	posthorn.Handle(mux, func(ctx context.Context, _ note) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		return handle(ctx, d)
	})
	r := &rig{t: t, store: s, Dispatcher: d, spans: exporter, tracer: provider.Tracer("test"),
		ended: make(chan worker.Event, 100)}
	w, err := worker.New(s, mux, worker.Options{
		Dispatcher: d, Observe: func(e worker.Event) { r.ended <- e },
		Retry: posthorn.RetryPolicy{MaxRetries: 1, Delay: time.Millisecond, Jitter: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// settled waits for the end of an attempt.
func (r *rig) settled() worker.Event {
	r.t.Helper()
	select {
	case e := <-r.ended:
		return e
	case <-time.After(patience):
		r.t.Fatal("no message was settled")
		return worker.Event{}
	}
}

// named lists the ended spans of a name, in the order of their ends.
func (r *rig) named(name string) []tracetest.SpanStub {
	var out []tracetest.SpanStub
	for _, s := range r.spans.GetSpans() {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

func (r *rig) one(name string) tracetest.SpanStub {
	r.t.Helper()
	found := r.named(name)
	if len(found) != 1 {
		r.t.Fatalf("%d spans are named %q, want 1", len(found), name)
	}
	return found[0]
}

func value(s tracetest.SpanStub, key string) string {
	for _, kv := range s.Attributes {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

func wantLinked(t *testing.T, s, to tracetest.SpanStub) {
	t.Helper()
	if s.SpanContext.TraceID() == to.SpanContext.TraceID() || s.Parent.IsValid() {
		t.Errorf("%s is in the trace of the send, want one of its own", s.Name)
	}
	if len(s.Links) != 1 || s.Links[0].SpanContext.SpanID() != to.SpanContext.SpanID() {
		t.Errorf("%s has links %v, want one to the send", s.Name, s.Links)
	}
}

func wantChild(t *testing.T, s, of tracetest.SpanStub) {
	t.Helper()
	if s.SpanContext.TraceID() != of.SpanContext.TraceID() || s.Parent.SpanID() != of.SpanContext.SpanID() {
		t.Errorf("%s has parent %v, want the span %s of %v", s.Name, s.Parent, of.Name, of.SpanContext)
	}
	if len(s.Links) != 0 {
		t.Errorf("%s has links %v, want none", s.Name, s.Links)
	}
}

func TestTheFirstTryIsAChildARetryAndARedriveAreLinked(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return errors.New("no: " + canary) })
	ctx, outer := r.tracer.Start(t.Context(), "request")
	id, err := r.Dispatch(ctx, note{Text: canary}, posthorn.WithHeader("secret", canary))
	outer.End()
	if err != nil {
		t.Fatal(err)
	}
	first, second := r.settled(), r.settled()
	if first.Verdict != driver.Retry || second.Verdict != driver.Bury {
		t.Fatalf("verdicts are %v and %v", first.Verdict, second.Verdict)
	}
	letters, err := r.store.Letters(t.Context(), store.LetterFilter{IDs: []string{id}, Limit: 1})
	if err != nil || len(letters) != 1 {
		t.Fatalf("dead letters: %v, %v", letters, err)
	}
	if _, err := r.store.RetryLetters(t.Context(), letters[0].Seq); err != nil {
		t.Fatal(err)
	}
	r.settled()
	send, tries := r.one("send default"), r.named("process default")
	wantChild(t, send, r.one("request"))
	wantChild(t, tries[0], send)
	wantLinked(t, tries[1], send)
	wantLinked(t, tries[2], send) // put back: its count of attempts and of deliveries began anew
	if got, _ := first.Delivery.TraceID(); got != send.SpanContext.TraceID().String() {
		t.Errorf("the message's trace is %q, want that of the send", got)
	}
	for _, s := range r.spans.GetSpans() {
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, "c4n4ry") || strings.Contains(text, "\x1b") {
			t.Errorf("span %s shows a secret: %s", s.Name, text)
		}
	}
}

func TestADelayedMessageIsAChildOnItsFirstTry(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	for _, opt := range []posthorn.DispatchOption{
		posthorn.WithDelay(50 * time.Millisecond), posthorn.WithTime(time.Now().Add(60 * time.Millisecond)),
		posthorn.WithTime(time.Now().Add(-time.Hour)),
	} {
		r.spans.Reset()
		if _, err := r.Dispatch(t.Context(), note{}, opt); err != nil {
			t.Fatal(err)
		}
		r.settled()
		wantChild(t, r.one("process default"), r.one("send default"))
	}
}

func TestSpansFollowTheMessagingConventions(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	id, err := r.Dispatch(t.Context(), note{Text: "x"})
	if err != nil {
		t.Fatal(err)
	}
	r.settled()
	for name, want := range map[string]struct {
		kind   trace.SpanKind
		fields map[string]string
	}{
		"send default": {trace.SpanKindProducer, map[string]string{
			"messaging.operation.type": "send", "messaging.operation.name": "send",
		}},
		"process default": {trace.SpanKindConsumer, map[string]string{
			"messaging.operation.type": "process", "messaging.operation.name": "process",
			"posthorn.message.attempt": "1", "posthorn.message.deliveries": "1",
		}},
	} {
		s := r.one(name)
		want.fields["messaging.system"], want.fields["messaging.destination.name"] = "posthorn", "default"
		want.fields["messaging.message.id"], want.fields["messaging.message.body.size"] = id, "43"
		want.fields["posthorn.message.kind"] = "note"
		if s.SpanKind != want.kind || s.Status.Code != codes.Unset {
			t.Errorf("%s has kind %v, status %v", name, s.SpanKind, s.Status)
		}
		for key, v := range want.fields {
			if got := value(s, key); got != v {
				t.Errorf("%s: %s = %q, want %q", name, key, got, v)
			}
		}
		if s.InstrumentationScope.SchemaURL != "https://opentelemetry.io/schemas/1.45.0" {
			t.Errorf("%s has schema %q", name, s.InstrumentationScope.SchemaURL)
		}
	}
}

func TestManyMessagesShareOneProducerSpan(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	if _, err := r.DispatchMany(t.Context(), []posthorn.Message{note{}, note{}}); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.settled()
	send := r.one("send default")
	if got := value(send, "messaging.batch.message_count"); got != "2" {
		t.Errorf("the batch has %q messages", got)
	}
	for _, s := range r.named("process default") {
		wantChild(t, s, send)
	}
}

// classed is an error with a class of its own.
type classed string

func (classed) Error() string        { return "classed" }
func (c classed) ErrorClass() string { return string(c) }

func TestTheEndOfAHandlerIsToldByItsClassOnly(t *testing.T) {
	ends := make(chan func() error, 1)
	r := newRig(t, func(context.Context, driver.Delivery) error { return (<-ends)() })
	for want, fn := range map[string]func() error{
		"failure":   func() error { return errors.New(canary) },
		"panic":     func() error { panic(canary) },
		"reject":    func() error { return posthorn.Reject(errors.New(canary)) },
		"quota_hit": func() error { return posthorn.Reject(nil) },
		"_OTHER":    func() error { return classed(canary) },
		"":          func() error { return posthorn.Snooze(time.Hour) },
	} {
		if want == "quota_hit" {
			fn = func() error { return classed("quota_hit") }
		}
		r.spans.Reset()
		ends <- fn
		if _, err := r.Dispatch(t.Context(), note{}); err != nil {
			t.Fatal(err)
		}
		if e := r.settled(); e.Verdict == driver.Retry {
			ends <- func() error { return posthorn.Reject(nil) }
			r.settled()
		}
		s := r.named("process default")[0]
		if got := value(s, "error.type"); got != want {
			t.Errorf("error.type = %q, want %q", got, want)
		}
		code, wantCode := s.Status.Code, codes.Error
		if want == "" {
			wantCode = codes.Unset
		}
		if code != wantCode || s.Status.Description != "" || len(s.Events) > 0 {
			t.Errorf("%s: status %v, events %v", want, s.Status, s.Events)
		}
	}
}

func TestASendThatFailsIsToldWithoutItsText(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	if _, err := r.Dispatch(t.Context(), note{}, posthorn.WithID("twice"), posthorn.WithDelay(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.spans.Reset()
	_, err := r.Dispatch(t.Context(), note{}, posthorn.WithID("twice"))
	if !errors.Is(err, driver.ErrDuplicate) {
		t.Fatalf("the second send: %v", err)
	}
	if s := r.one("send default"); value(s, "error.type") != "duplicate" || s.Status.Code != codes.Error {
		t.Errorf("error.type = %q, status %v", value(s, "error.type"), s.Status)
	}
}

func TestAContextOfTheSendersOwnIsKept(t *testing.T) {
	const own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	if _, err := r.Dispatch(t.Context(), note{}, posthorn.WithHeader("traceparent", own)); err != nil {
		t.Fatal(err)
	}
	if got := r.settled().Delivery.Header["traceparent"]; got != own {
		t.Errorf("the message travelled with %q", got)
	}
	if got := r.one("process default").Parent.SpanID().String(); got != "b7ad6b7169203331" {
		t.Errorf("the handler's parent is %s", got)
	}
}

func TestAMessageWithoutRoomInItsHeaderIsSentWithoutTrace(t *testing.T) {
	r := newRig(t, func(context.Context, driver.Delivery) error { return nil })
	full := func(e *driver.Envelope) {
		e.Header = map[string]string{}
		for i := range driver.MaxHeaders {
			e.Header[fmt.Sprintf("h%d", i)] = "x"
		}
	}
	if _, err := r.Dispatch(t.Context(), note{}, full); err != nil {
		t.Fatal(err)
	}
	if e := r.settled(); len(e.Delivery.Header) != driver.MaxHeaders || e.Class != driver.ClassDone {
		t.Errorf("it arrived with %d header fields and ended as %s", len(e.Delivery.Header), e.Class)
	}
}

func TestWithoutAProviderNothingIsAdded(t *testing.T) {
	tr := tracing.New(nil)
	envs := []driver.Envelope{{ID: "x", Kind: "note", Queue: "q"}}
	if err := tr.Send(t.Context(), envs, func(context.Context) error { return nil }); err != nil || envs[0].Header != nil {
		t.Errorf("Send: %v, header %v", err, envs[0].Header)
	}
	allocs := testing.AllocsPerRun(100, func() {
		_ = tr.Send(t.Context(), envs, func(context.Context) error { return nil })
		_ = tr.Handle(t.Context(), driver.Delivery{}, func(context.Context) error { return nil })
	})
	if allocs > 0 {
		t.Errorf("a send and a handler cost %v allocations", allocs)
	}
}

func TestLogLinesOfAHandlerNameTheTrace(t *testing.T) {
	var log strings.Builder
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	d := driver.Delivery{Envelope: driver.Envelope{
		ID: "m1", Kind: "note", Header: map[string]string{"traceparent": parent},
	}}
	ctx := posthorn.WithDelivery(t.Context(), d, slog.New(slog.NewTextHandler(&log, nil)))
	posthorn.Logger(ctx).Info("here")
	if !strings.Contains(log.String(), "message_id=m1 kind=note trace_id=0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("the line is %q", log.String())
	}
}
