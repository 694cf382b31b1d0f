package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/flight"
	"github.com/posthorn/posthorn/internal/isolation"
	"github.com/posthorn/posthorn/supervisor"
)

// buryDead gives back what a dead worker held. Its process is reaped, so it can
// touch nothing any more; its successor is not started before this returns.
func (f *flagship) buryDead(ctx context.Context, e supervisor.Event) {
	file := flightFile(f.flights, e.PID)
	defer func() { _ = os.Remove(file) }() // there is none of a foreign command
	id := e.Fields[fieldWorker]
	if !isolation.Left(id, e.Exit.Clean()) {
		return
	}
	log := f.s.env.Log.With("worker", id, "program", e.Program)
	rec, err := flight.Read(file)
	if err != nil {
		log.Warn("no flight record: the crash is charged to all that the worker held", "error", err)
	}
	d := isolation.Death(id, isIsolated(e.Program), rec, err)
	d.Cause, d.Evidence = causeOf(*e.Exit), evidence(*e.Exit)
	toll, err := f.s.env.Store.ReleaseDead(ctx, d)
	if err != nil {
		log.Error("messages of a dead worker wait for their lease to end", "error", err)
		return
	}
	log.Info("messages of a dead worker are released", "cause", d.Cause,
		"released", toll.Released, "suspected", toll.Suspected, "buried", toll.Buried)
	if toll.Buried > 0 {
		log.Error("dead letter: its handler kills the process", "cause", d.Cause)
	}
	if toll.Suspected > 0 {
		f.quarantine.poke()
	}
}

// causeOf says in a few words how a process ended.
func causeOf(e supervisor.Exit) string {
	var out string
	switch {
	case e.Err != nil:
		out = e.Err.Error()
	case e.Signal != 0:
		out = "signal: " + e.Signal.String()
	default:
		out = fmt.Sprintf("exit status %d", e.Code)
	}
	if e.OOM {
		out = "out of memory, " + out
	}
	if e.CoreDumped {
		out += ", core dumped"
	}
	if e.Planned {
		out += ", after it was told to end"
	}
	return out
}

// evidence is what may help to find out why a process died. Its lines are escaped
// already.
func evidence(e supervisor.Exit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s after %s\n", causeOf(e), e.Ended.Sub(e.Started).Round(1e6))
	if e.MaxRSS > 0 {
		fmt.Fprintf(&b, "most resident memory: %s\n", config.Bytes(e.MaxRSS))
	}
	if len(e.Curve) > 0 {
		b.WriteString("resident memory in its last seconds:")
		for _, s := range e.Curve {
			fmt.Fprintf(&b, " %s", config.Bytes(s.RSS))
		}
		b.WriteByte('\n')
	}
	if len(e.Stderr) > 0 {
		fmt.Fprintf(&b, "last lines of stderr:\n%s\n", strings.Join(e.Stderr, "\n"))
	}
	return b.String()
}
