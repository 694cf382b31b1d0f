// Package tap keeps all that leaves a process for people and machines to read: log records,
// log lines, pages of metrics, alerts and spans. It does so in builds with the tag
// posthorn_tap alone, in which `make canaries` runs the tests; in any other it is nothing.
//
// What somebody asks to see is not kept, since it may have what is secret to others: what
// commands write to stdout and to a terminal, the HTTP API of dead letters, the store, flight
// records. What handlers write themselves is kept where a supervisor passes it on.
package tap

import (
	"context"
	"io"
	"log/slog"
)

// Secret stands in bodies, headers, passwords and tokens of tests, and may be shown nowhere.
// It is never in the text of an error: what a handler says of its failure is to be read.
const Secret = "n0b0dy-m4y-s33-th1s"

// Env names the directory in which it is kept; where it is not set, nothing is.
const Env = "POSTHORN_TAP"

// A Kind is what was shown.
type Kind string

// The kinds. A record is what the log handler of a library's user is given; lines are what
// a program of Posthorn's writes.
const (
	Record  Kind = "record"
	Line    Kind = "line"
	Metrics Kind = "metrics"
	Alert   Kind = "alert"
	Trace   Kind = "trace"
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Record, Line, Metrics, Alert, Trace} }

// Show keeps one piece, such as the body of an alert. It panics where it cannot: what is
// not kept would be taken to be clean.
func Show(k Kind, p []byte) {
	if On && len(p) > 0 {
		keep(k, p)
	}
}

// Logger is l, or a logger that says nothing if there is none.
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	if !On {
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

// Enabled: all is kept.
func (h handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a record, and hands it on.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	_ = h.shown.Handle(ctx, r.Clone()) // Show does not return an error
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

// Writer keeps what is written to w, once.
func Writer(k Kind, w io.Writer) io.Writer {
	if _, tapped := w.(writer); tapped || !On {
		return w
	}
	return writer{k, w}
}

// A writer shows what it writes.
type writer struct {
	kind Kind
	next io.Writer
}

// Write shows p, and writes it.
func (w writer) Write(p []byte) (int, error) {
	Show(w.kind, p)
	return w.next.Write(p)
}
