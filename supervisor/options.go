package supervisor

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"time"
)

// Options are how a supervisor works. The zero value of each is a default.
type Options struct {
	Log *slog.Logger // default: nothing is logged

	// Observe hears of every event, one after the other. An exit is told before
	// the process has a successor, so that what the dead one held can be given
	// back first. It must return when its context ends, after ObserveTimeout:
	// supervision goes on then.
	Observe        func(context.Context, Event)
	ObserveTimeout time.Duration // default 5s

	// Notify tells the supervisor's own parent lines of sd_notify(3). It must not
	// block for long. WatchdogEvery is how often WATCHDOG=1 is to be sent; 0 means
	// never.
	Notify        func(lines ...string)
	WatchdogEvery time.Duration

	// Guardian is a command that calls Guard on its standard input: it kills the
	// processes when the supervisor is killed. None means that only the kernel
	// does, on Linux, and only for the processes themselves, not for theirs.
	Guardian    []string
	GuardianEnv []string

	Logs           Logs
	Stdout, Stderr io.Writer           // the console, if Logs has no directory; must not block, see LossyWriter
	Escape         func(string) string // makes a line of unknown origin safe to show; default: as it is

	RunDir string // the private directory of the sockets is made in it; default: /tmp
}

// filled sets the defaults.
func (o Options) filled() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(context.Context, Event) {}
	}
	o.ObserveTimeout = cmp.Or(o.ObserveTimeout, 5*time.Second)
	if o.Notify == nil {
		o.Notify = func(...string) {}
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Escape == nil {
		o.Escape = func(line string) string { return line }
	}
	if o.RunDir == "" {
		o.RunDir = "/tmp"
	}
	o.Logs = o.Logs.filled()
	return o
}
