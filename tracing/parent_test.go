package tracing_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/tracing"
)

// A counted sampler counts how often it is asked, and samples everything.
type counted struct{ asked atomic.Int64 }

func (c *counted) ShouldSample(sdk.SamplingParameters) sdk.SamplingResult {
	c.asked.Add(1)
	return sdk.SamplingResult{Decision: sdk.RecordAndSample}
}

func (*counted) Description() string { return "counted" }

const (
	unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	sampledParent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

func received(parent string) driver.Delivery {
	d := driver.Delivery{Envelope: driver.Envelope{ID: "m1", Kind: "note", Queue: "default", SentAt: time.Now()}}
	d.Deliveries, d.NotBefore = 1, d.SentAt
	if parent != "" {
		d.Header = map[string]string{"traceparent": parent}
	}
	return d
}

func TestWithParentBasedNoSpanIsBegunWhereTheParentIsNotSampled(t *testing.T) {
	retried := received(unsampledParent)
	retried.Deliveries = 2
	for name, c := range map[string]struct {
		options []tracing.Option
		d       driver.Delivery
		asked   int64
	}{
		"not sampled":            {[]tracing.Option{tracing.WithParentBased()}, received(unsampledParent), 0},
		"sampled":                {[]tracing.Option{tracing.WithParentBased()}, received(sampledParent), 1},
		"no parent":              {[]tracing.Option{tracing.WithParentBased()}, received(""), 1},
		"no valid parent":        {[]tracing.Option{tracing.WithParentBased()}, received(unsampledParent + "0"), 1},
		"a retry begins a trace": {[]tracing.Option{tracing.WithParentBased()}, retried, 1},
		"another sampler":        {nil, received(unsampledParent), 1},
	} {
		sampler, boom := &counted{}, errors.New("boom")
		tr := tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sampler)), c.options...)
		var sc trace.SpanContext
		err := tr.Handle(t.Context(), c.d, func(ctx context.Context) error {
			sc = trace.SpanContextFromContext(ctx)
			return boom
		})
		if !errors.Is(err, boom) || sampler.asked.Load() != c.asked {
			t.Errorf("%s: error %v, the sampler was asked %d times, want %d", name, err, sampler.asked.Load(), c.asked)
		}
		kept := sc.SpanID().String() == "b7ad6b7169203331" && sc.IsRemote() && !sc.IsSampled()
		if !sc.IsValid() || kept != (c.asked == 0) {
			t.Errorf("%s: the handler has the span context %+v", name, sc)
		}
	}
}

func TestWithParentBasedASendPassesOnWhatIsNotSampled(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		sampler := &counted{}
		tr := tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sampler)), tracing.WithParentBased())
		parent := trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.TraceFlags(0).WithSampled(sampled),
		})
		envs := []driver.Envelope{{ID: "m1", Kind: "note", Queue: "default"}}
		ctx := trace.ContextWithSpanContext(t.Context(), parent)
		if err := tr.Send(ctx, envs, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		const passedOn = "00-01000000000000000000000000000000-0200000000000000-00"
		if got := envs[0].Header["traceparent"]; got == "" || (got == passedOn) == sampled {
			t.Errorf("sampled %v: the message travels with %q", sampled, got)
		}
		if asked := sampler.asked.Load() > 0; asked != sampled {
			t.Errorf("sampled %v: the sampler was asked: %v", sampled, asked)
		}
	}
}

func TestWithSampledOnlyNothingElseTravelsOrIsBegun(t *testing.T) {
	for name, c := range map[string]struct {
		parent  string
		sampled bool
	}{
		"not sampled": {unsampledParent, false}, "no parent": {"", false},
		"no valid parent": {sampledParent + "0", false}, "sampled": {sampledParent, true},
	} {
		for deliveries := 1; deliveries <= 2; deliveries++ {
			d := received(c.parent)
			d.Deliveries = deliveries
			saw, asked, sent := handledAndSent(t, d)
			want := int64(0)
			if c.sampled {
				want = 2 // for the handler, and for what it sends
			}
			if asked != want || !saw.IsValid() || saw.IsSampled() != c.sampled {
				t.Errorf("%s, delivery %d: the sampler was asked %d times, the handler has %+v", name, deliveries, asked, saw)
			}
			if carries := sent.Header["traceparent"] != ""; carries != c.sampled {
				t.Errorf("%s, delivery %d: what the handler sends carries %v", name, deliveries, sent.Header)
			}
		}
	}
}

// handledAndSent handles a message by a handler that sends another one. It returns the span
// context that the handler has, how often the sampler was asked, and what was sent.
func handledAndSent(t *testing.T, d driver.Delivery) (saw trace.SpanContext, asked int64, sent driver.Envelope) {
	t.Helper()
	sampler, envs := &counted{}, []driver.Envelope{{ID: "m2", Kind: "note", Queue: "default"}}
	tr := tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sampler)), tracing.WithSampledOnly())
	err := tr.Handle(t.Context(), d, func(ctx context.Context) error {
		saw = trace.SpanContextFromContext(ctx)
		return tr.Send(ctx, envs, func(context.Context) error { return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return saw, sampler.asked.Load(), envs[0]
}

func TestWithSampledOnlyARootThatIsNotSampledDoesNotTravel(t *testing.T) {
	for sampled, sampler := range map[bool]sdk.Sampler{true: sdk.AlwaysSample(), false: sdk.NeverSample()} {
		tr := tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sampler)), tracing.WithSampledOnly())
		envs := []driver.Envelope{{ID: "m1", Kind: "note", Queue: "default"}}
		if err := tr.Send(t.Context(), envs, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if carried := envs[0].Header["traceparent"] != ""; carried != sampled {
			t.Errorf("sampled %v: the message travels with %v", sampled, envs[0].Header)
		}
	}
}
