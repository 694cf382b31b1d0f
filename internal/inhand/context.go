// Package inhand is the contexts of a message that a worker has in hand.
package inhand

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// A Key is what Value is asked for a *Message with.
type Key struct{}

// A Message is what a context knows of the message.
type Message struct {
	Delivery *driver.Delivery
	Log      *slog.Logger // for its handler; nil: the default
}

// A Context is a context.Context of package context that is made when somebody needs it:
// who only asks whether it has ended, or for the message, does without, and most of a
// message's contexts are asked for nothing else. Made with its timer and its place among the
// children of its parent, it would cost a no-op handler more than the decoding of the
// message (docs/adr/0052).
//
// The zero value is not usable: Carry or Bound comes first, once. After that it is safe for
// concurrent use.
type Context struct {
	parent   context.Context //nolint:containedctx // it is a context
	message  Message         // the zero value: the parent's
	deadline time.Time       // zero: none of its own
	late     error           // the cause of its end at the deadline

	made atomic.Pointer[made]

	mu    sync.Mutex // held while it is made or ended
	ended bool
	cause error
}

// made is what stands behind a Context that was needed.
type made struct {
	context.Context //nolint:containedctx // it is what it stands for
	end             context.CancelCauseFunc
}

// Carry makes c a context of parent that carries a message. End ends it, with a cause.
func (c *Context) Carry(parent context.Context, m Message) { c.parent, c.message = parent, m }

// Bound makes c a context of parent that ends at a deadline, late being the cause of that
// then. The zero time is no deadline. Where there is one, the cause of End is context.Canceled.
func (c *Context) Bound(parent context.Context, deadline time.Time, late error) {
	c.parent, c.deadline, c.late = parent, deadline, late
}

// End ends it, if nothing has before. A nil cause is context.Canceled.
func (c *Context) End(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	if !c.deadline.IsZero() {
		cause = nil
	}
	m := c.made.Load()
	if m == nil && c.parent.Err() != nil {
		m = c.make(c.parent) // its end came first
	}
	if m != nil {
		m.end(cause)
	}
	c.ended, c.cause = true, cause
}

// get makes it, if it is not made yet.
func (c *Context) get() context.Context {
	if m := c.made.Load(); m != nil {
		return m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.made.Load(); m != nil {
		return m
	}
	if !c.ended {
		return c.make(c.parent)
	}
	return c.make(context.WithoutCancel(c.parent)) // whose end may have come since
}

// make makes it. The caller holds the lock.
func (c *Context) make(parent context.Context) *made {
	m := &made{}
	if c.ended || c.deadline.IsZero() {
		m.Context, m.end = context.WithCancelCause(parent)
	} else {
		ctx, cancel := context.WithDeadlineCause(parent, c.deadline, c.late)
		m.Context, m.end = ctx, func(error) { cancel() }
	}
	if c.ended {
		m.end(c.cause)
	}
	c.made.Store(m) // not before it has ended, if it has: nobody sees it stand again
	return m
}

// Err is why it has ended, or nil.
func (c *Context) Err() error {
	if m := c.made.Load(); m != nil {
		return m.Err()
	}
	if c.parent.Err() != nil || !c.deadline.IsZero() && !time.Now().Before(c.deadline) || c.over() {
		return c.get().Err()
	}
	return nil
}

// over reports whether End has ended it.
func (c *Context) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Done is closed when it ends.
func (c *Context) Done() <-chan struct{} { return c.get().Done() }

// Deadline is when it ends at the latest.
func (c *Context) Deadline() (deadline time.Time, ok bool) {
	deadline, ok = c.parent.Deadline()
	if !c.deadline.IsZero() && (!ok || c.deadline.Before(deadline)) {
		return c.deadline, true
	}
	return deadline, ok
}

// Value is the value of a key.
func (c *Context) Value(key any) any {
	if _, ok := key.(Key); !ok {
		return c.get().Value(key) // package context asks for its own contexts so
	}
	if c.message.Delivery == nil {
		return c.parent.Value(key)
	}
	return &c.message
}

// Cause is context.Cause, for contexts of which most have not ended: it makes none that has
// not.
func Cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

var _ context.Context = (*Context)(nil)
