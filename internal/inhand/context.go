// Package inhand is the contexts of a message that a worker has in hand.
package inhand

import (
	"context"
	"fmt"
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

// A Context is made by package context when somebody needs it: for its channel, or for a value
// other than the message. Who only asks whether it has ended, or for the message, does without,
// and most of a message's contexts are asked for nothing else. Made with its timer and its place
// among the children of its parent, it would cost a no-op handler about as much as the decoding of
// the message (ADR 52).
//
// What ends it first is why it has ended, as if it had been made at once, as far as its ancestors are
// of this type: each End notes the time.
//
// The zero value is not usable: Carry or Bound comes first, once. After that it is safe for
// concurrent use.
type Context struct {
	parent   context.Context //nolint:containedctx // it is a context
	message  Message         // the zero value: the parent's
	deadline time.Time       // zero: none of its own
	late     error           // the cause of its end at the deadline

	made atomic.Pointer[made]

	mu    sync.Mutex  // held while it is made or ended
	ended atomic.Bool // by End
	at    time.Time   // when; set before ended, as is the cause
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
	if c.ended.Load() {
		return
	}
	if !c.deadline.IsZero() {
		cause = nil
	}
	now, m := time.Now(), c.made.Load()
	if m == nil && (c.parent.Err() != nil || c.passed(now)) {
		m = c.make(now) // its end came before
	}
	c.at, c.cause = now, cause
	c.ended.Store(true)
	if m != nil {
		m.end(cause)
	}
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
	return c.make(time.Now())
}

// make makes it. The caller holds the lock.
func (c *Context) make(now time.Time) *made {
	m := &made{}
	switch {
	case c.ended.Load(): // first, else it was made then
		m.Context, m.end = context.WithCancelCause(context.WithoutCancel(c.parent))
		m.end(c.cause)
	case c.deadline.IsZero():
		m.Context, m.end = context.WithCancelCause(c.parent)
	default:
		parent := c.parent
		if at, known := endOf(parent, now); c.passed(now) && known && !at.Before(c.deadline) {
			parent = context.WithoutCancel(parent) // it ended later
		}
		ctx, cancel := context.WithDeadlineCause(parent, c.deadline, c.late)
		m.Context, m.end = ctx, func(error) { cancel() }
	}
	c.made.Store(m) // not before it has ended, if it has: nobody sees it stand again
	return m
}

// passed reports whether its deadline is over.
func (c *Context) passed(now time.Time) bool { return !c.deadline.IsZero() && !now.Before(c.deadline) }

// endOf is when a context ended, as far as that is known; one that stands ends now.
func endOf(ctx context.Context, now time.Time) (at time.Time, known bool) {
	c, ok := ctx.(*Context)
	if !ok {
		return now, ctx.Err() == nil
	}
	if at, known = endOf(c.parent, now); !known {
		return at, false
	}
	if c.ended.Load() && c.at.Before(at) {
		at = c.at
	}
	if c.passed(at) {
		at = c.deadline
	}
	return at, true
}

// Err is why it has ended, or nil.
func (c *Context) Err() error {
	if m := c.made.Load(); m != nil {
		return m.Err()
	}
	if c.ended.Load() || c.parent.Err() != nil || !c.deadline.IsZero() && c.passed(time.Now()) {
		return c.get().Err()
	}
	return nil
}

// String says what it is a context of. It never changes, so that it may be printed while others use it.
func (c *Context) String() string {
	if !c.deadline.IsZero() {
		return fmt.Sprintf("%v.Bound(%s)", c.parent, c.deadline.Format(time.RFC3339Nano))
	}
	if c.message.Delivery != nil {
		return fmt.Sprintf("%v.Carry(%s)", c.parent, c.message.Delivery.ID)
	}
	return fmt.Sprintf("%v.Bound", c.parent)
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
