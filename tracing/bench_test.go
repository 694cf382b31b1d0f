package tracing_test

import (
	"context"
	"fmt"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/tracing"
)

// unsampled is a tracer as an application has it in production, of whose traces none is
// sampled.
func unsampled(opts ...tracing.Option) *tracing.Tracer {
	return tracing.New(sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.NeverSample()))), opts...)
}

// BenchmarkHandle runs a handler that does nothing, for a message that was sent in a trace
// that is not sampled.
func BenchmarkHandle(b *testing.B) {
	for name, tr := range map[string]*tracing.Tracer{
		"asked": unsampled(), "parent-based": unsampled(tracing.WithParentBased()),
		"sampled only": unsampled(tracing.WithSampledOnly()),
	} {
		b.Run(name, func(b *testing.B) {
			d, next, ctx := received(unsampledParent), func(context.Context) error { return nil }, b.Context()
			if name == "sampled only" {
				d = received("") // as such a tracer sends it
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = tr.Handle(ctx, d, next)
			}
		})
	}
}

// BenchmarkSend sends messages to nowhere, in a trace that is not sampled. One operation
// is one call.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			envs, blank := make([]driver.Envelope, n), make([]driver.Envelope, n)
			for i := range blank {
				blank[i] = driver.Envelope{ID: "m1", Kind: "note", Queue: "default"}
			}
			tr, next := unsampled(), func(context.Context) error { return nil }
			b.ReportAllocs()
			for b.Loop() {
				copy(envs, blank)
				_ = tr.Send(b.Context(), envs, next)
			}
		})
	}
}
