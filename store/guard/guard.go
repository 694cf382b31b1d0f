// Package guard is the session guard's part that all databases share: a
// wrapper around a driver's connection that knows when a handler is inside. It
// ends the handler's statements with the handler's life, closes what the
// handler left open, and refuses what would end the transaction. What a
// statement is allowed to do is for the dialect to say.
package guard

import (
	"context"
	"fmt"
	"sync"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/safety"
)

// A Guard is the state of one connection's guard. It is safe for concurrent
// use.
type Guard struct {
	mu        sync.Mutex
	life      context.Context //nolint:containedctx // of the handler that is inside; nil: nobody is
	suspended bool
	refused   string
	dirty     string
	marked    bool
	cut       bool
	together  bool // others are settled that have not run yet
	endings   int  // statements that were met that may end the transaction
}

// Enter says that a handler is inside, until Leave; its statements end with
// life. Together with others that have been settled and have not run yet, what may
// end the transaction is refused to it.
func (g *Guard) Enter(life context.Context, together bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused, g.cut, g.together, g.endings = "", false, together, 0
	if safety.Guard {
		g.life = life
	}
}

// Leave says that no handler is inside, and returns what makes the connection
// dirty; empty means nothing.
func (g *Guard) Leave() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.life = nil
	return g.dirty
}

// Suspend lets a statement of Posthorn's own pass while a handler is inside.
func (g *Guard) Suspend(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspended = on
}

// Watches reports whether what happens now is the handler's.
func (g *Guard) Watches() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.life != nil && !g.suspended
}

// Inside reports whether a handler is inside, even if suspended.
func (g *Guard) Inside() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.life != nil
}

// Refuse notes why something was refused.
func (g *Guard) Refuse(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = why
}

// Refused is what was refused last since Enter, as driver.ErrTxRefused, or nil.
func (g *Guard) Refused() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", driver.ErrTxRefused, g.refused)
}

// RefuseEnding notes a statement that may undo or commit what others have done in the
// transaction. Together with others it is refused, which is what it reports.
func (g *Guard) RefuseEnding() (refused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endings++
	if g.together {
		g.refused = "it may undo or commit what others have done: the message has to run apart from them"
	}
	return g.together
}

// Endings is how many statements were met since Enter that may undo or commit what
// others have done in the transaction.
func (g *Guard) Endings() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.endings
}

// Soil notes what will outlive the handler's transaction: the connection must
// be destroyed before anybody else sees it.
func (g *Guard) Soil(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirty = why
}

// Dirty is what Soil noted.
func (g *Guard) Dirty() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dirty
}

// note takes a statement's mark down.
func (g *Guard) note(m Mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m {
	case Lasting:
		g.dirty = "setting or prepared statements"
	case Passing:
		g.marked = true
	}
}

// judge is told how a handler's statement ended. One that fails when its context
// has ended was cut off.
func (g *Guard) judge(ctx context.Context, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && ctx.Err() != nil && g.life != nil && !g.suspended {
		g.cut = true
	}
	return hide(err)
}

// Cut reports whether a statement was cut off since Enter. Drivers give the
// connection up then: that is the handler's doing, and no fault of the server.
func (g *Guard) Cut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut
}

// Marked reports whether a handler has left something that ends with the
// transaction, since Unmark.
func (g *Guard) Marked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.marked
}

// Unmark says that the transaction has ended.
func (g *Guard) Unmark() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.marked = false
}

// bind makes a context that ends with the handler's life, too. The caller calls
// done when the statement or its rows are over.
func (g *Guard) bind(ctx context.Context) (bound context.Context, done func()) {
	g.mu.Lock()
	life := g.life
	g.mu.Unlock()
	if life == nil || ctx == life || ctx.Done() == life.Done() {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	return ctx, func() { stop(); cancel(nil) }
}
