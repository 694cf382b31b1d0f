package postgres

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds of the ears' work.
const (
	minQuiet  = time.Millisecond      // at most one notification in this time
	maxQuiet  = 20 * time.Millisecond // the same where there is always another one
	pingEvery = 15 * time.Second      // a silent connection is tried
	maxPause  = 5 * time.Second       // between tries to connect
)

// ears listen for notifications on a connection of their own, and send them on
// it, coalesced, never in anybody's transaction. They are hints: consumers poll
// anyway.
type ears struct {
	line    line
	channel string // what workers listen on
	tell    chan struct{}
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

func newEars(l line, channel string) *ears {
	return &ears{line: l, channel: channel, tell: make(chan struct{}, 1), cancel: func() {}}
}

// Tell hints other processes soon. It does not block.
func (e *ears) Tell() {
	select {
	case e.tell <- struct{}{}:
	default: // one is on its way
	}
}

// Listen calls changed for each notification, once there is anybody, until Close.
func (e *ears) Listen(changed func(), anybody <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	e.wg.Go(func() {
		select {
		case <-anybody:
			e.forever(ctx, func(c *pgx.Conn) error { return e.hear(ctx, c, changed) })
		case <-ctx.Done():
		}
	})
	e.wg.Go(func() { e.forever(ctx, func(c *pgx.Conn) error { return e.speak(ctx, c) }) })
}

// Close ends both and waits for them.
func (e *ears) Close() error {
	e.cancel()
	e.wg.Wait()
	return nil
}

// forever runs fn on a connection, and on another one when it was lost.
func (e *ears) forever(ctx context.Context, fn func(*pgx.Conn) error) {
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		if e.connected(ctx, fn) {
			pause = 100 * time.Millisecond
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// connected reports whether there was a connection.
func (e *ears) connected(ctx context.Context, fn func(*pgx.Conn) error) bool {
	c, err := e.line.connect(ctx)
	if err != nil {
		return false
	}
	_ = fn(c) // whatever it was, another connection is tried
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = c.Close(bye)
	return true
}

// hear listens. What was told while nobody listened counts as heard. A connection
// that has long been silent is tried, since a dead one looks the same.
func (e *ears) hear(ctx context.Context, c *pgx.Conn, changed func()) error {
	if _, err := c.Exec(ctx, "listen "+e.channel); err != nil {
		return err
	}
	changed()
	for {
		wait, cancel := context.WithTimeout(ctx, pingEvery)
		_, err := c.WaitForNotification(wait)
		silent := wait.Err() != nil
		cancel()
		switch {
		case err == nil:
			changed()
			runtime.Gosched() // whoever was waiting goes on on this processor
		case ctx.Err() != nil || !silent:
			return err
		default:
			if err := ping(ctx, c); err != nil {
				return err
			}
		}
	}
}

func ping(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, maxPause)
	defer cancel()
	return c.Ping(ctx)
}

// speak sends one notification for all hints of a while. The while grows as long as
// there is always another hint: who listens is busy then. What could not be sent is for
// the next connection.
func (e *ears) speak(ctx context.Context, c *pgx.Conn) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for quiet := minQuiet; ; {
		select {
		case <-e.tell:
			quiet = min(2*quiet, maxQuiet)
		default:
			quiet = minQuiet
			select {
			case <-e.tell:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		say, cancel := context.WithTimeout(ctx, maxPause)
		_, err := c.Exec(say, "notify "+e.channel)
		cancel()
		if err != nil {
			e.Tell()
			return err
		}
		timer.Reset(quiet)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
