// Package tap lets a test run see all that leaves a process for people and machines to
// read: log records, log lines, pages of metrics, alerts. Outside of tests nobody listens,
// and a tap costs a comparison with nil.
package tap

import (
	"context"
	"io"
	"log/slog"
	"net/http"
)

// A Kind is what was seen.
type Kind string

// The kinds. A record is what a library's log handler is given; lines are what a program
// of Posthorn's writes.
const (
	Record  Kind = "record"
	Line    Kind = "line"
	Metrics Kind = "metrics"
	Alert   Kind = "alert"
	Trace   Kind = "trace"
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Record, Line, Metrics, Alert, Trace} }

// Secret stands in bodies, headers, passwords and tokens of tests, and may be shown nowhere.
// It is never in the text of an error: what a handler says of its failure is to be read.
const Secret = "n0b0dy-m4y-s33-th1s"

// listener is set before a process does anything, and never again.
var listener func(Kind, []byte)

// Listen lets f see all that is shown from now on; f is called by many at a time. It is for
// the beginning of a process: nothing may be under way yet.
func Listen(f func(Kind, []byte)) { listener = f }

// Show shows one piece, such as a page or the body of an alert.
func Show(k Kind, p []byte) {
	if listener != nil {
		listener(k, p)
	}
}

// Logger is l, or a logger that says nothing if there is none.
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	if listener == nil {
		return l
	}
	if _, tapped := l.Handler().(handler); tapped {
		return l
	}
	shown := slog.NewJSONHandler(Writer(Record, io.Discard), &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(handler{l.Handler(), shown})
}

// A handler hands a record to two.
type handler struct{ next, shown slog.Handler }

// Enabled: somebody listens to all.
func (h handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle shows a record, and hands it on.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	_ = h.shown.Handle(ctx, r.Clone()) // it writes to the listener, which does not fail
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs adds to both.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.next.WithAttrs(attrs), h.shown.WithAttrs(attrs)}
}

// WithGroup begins a group in both.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.next.WithGroup(name), h.shown.WithGroup(name)}
}

// Writer shows what is written to w.
func Writer(k Kind, w io.Writer) io.Writer {
	if listener == nil {
		return w
	}
	return writer{k, w}
}

type writer struct {
	kind Kind
	next io.Writer
}

// Write shows p, and writes it.
func (w writer) Write(p []byte) (int, error) {
	Show(w.kind, p)
	return w.next.Write(p)
}

// Handler shows the bodies of what h answers.
func Handler(k Kind, h http.Handler) http.Handler {
	if listener == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding") // who listens reads plain text
		h.ServeHTTP(response{w, k}, r)
	})
}

type response struct {
	http.ResponseWriter
	kind Kind
}

// Write shows p, and writes it.
func (r response) Write(p []byte) (int, error) {
	Show(r.kind, p)
	return r.ResponseWriter.Write(p)
}
