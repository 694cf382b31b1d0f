package tracing_test

import (
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/tracing"
)

func Example() {
	mux := posthorn.NewMux()
	tracer := tracing.New(noop.NewTracerProvider()) // the application's own provider
	mux.Use(tracer.Handle)
	cli.Main(cli.App{Mux: mux, Middleware: []posthorn.SendMiddleware{tracer.Send}})
}
