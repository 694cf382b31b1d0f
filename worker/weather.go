package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/posthorn/posthorn/worker/verdict"
)

// A weather remembers whether the transport is away, so that the rooms wait
// calmly and the log says it once.
type weather struct {
	mu    sync.Mutex
	away  bool
	fails int
}

// bad reports a fault and waits a while.
func (w *weather) bad(ctx context.Context, log *slog.Logger, err error) {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return
	}
	w.report(log, err)
	w.pause(ctx)
}

// report notes that the transport is away.
func (w *weather) report(log *slog.Logger, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails++
	if !w.away {
		w.away = true
		log.Warn("transport is away: waiting for it", "error", err)
	}
}

// good notes that it answers.
func (w *weather) good(log *slog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = 0
	if w.away {
		w.away = false
		log.Info("transport is back")
	}
}

// pause waits for a time that grows with the faults in a row, spread by
// chance. It reports whether it was waited to its end.
func (w *weather) pause(ctx context.Context) bool {
	w.mu.Lock()
	d := verdict.Pause(w.fails, rand.Float64())
	w.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
