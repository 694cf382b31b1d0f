package guard

import (
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"sync"
	"time"
)

// A Cutter ends the statement that runs on a connection, from another goroutine than the one that
// waits for it.
type Cutter interface {
	// Cut makes the statement end soon, with an error unless it has just succeeded. It does not
	// block. It is called again, until the statement has ended.
	Cut()
	// Mend is called once the statement has ended after Cut, before another one begins.
	Mend()
}

// cutEvery is how often it is looked whether a statement has outlived its handler. It is what a
// handler's end may be late by for its statement.
const cutEvery = 5 * time.Millisecond

// cuts ends a handler's statements with the handler's life. A driver that is given a context that
// can end starts somebody for each statement who waits for that, and a message's context has to be
// made for it; so it is given one that never ends, and one timer for all statements of the connection
// looks whether the life is over of the one that runs (ADR 56).
type cuts struct {
	cutter Cutter // nil: the driver is given the context

	mu    sync.Mutex
	timer *time.Timer
	armed bool
	life  context.Context //nolint:containedctx // of the statement that runs; nil: none does
	cut   bool            // it was cut off

	closed bool // the connection is
}

// begin says that a statement runs, until finish.
func (c *cuts) begin(life context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life, c.cut = life, false
	switch {
	case c.armed, c.closed:
		return
	case c.timer == nil:
		c.timer = time.AfterFunc(cutEvery, c.look)
	default:
		c.timer.Reset(cutEvery)
	}
	c.armed = true
}

// finish says that it has ended. It returns the error of one that was cut off because its life was over.
func (c *cuts) finish(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	life, cut := c.life, c.cut
	c.life, c.cut = nil, false
	if !cut || c.closed || life == nil {
		return err
	}
	c.cutter.Mend()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %v", life.Err(), err) //nolint:errorlint // the driver's is no fault of the database
}

// close comes before the connection is closed: nothing of it is touched afterwards.
func (c *cuts) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.life = true, nil
	if c.timer != nil {
		c.timer.Stop()
	}
}

// look is the timer's. Once nothing runs, it rests until something does.
func (c *cuts) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed = c.life != nil && !c.closed; !c.armed {
		return
	}
	if c.life.Err() != nil {
		c.cut = true
		c.cutter.Cut()
	}
	c.timer.Reset(cutEvery)
}

// An endless context is what a driver is given in place of one whose end is watched for it.
type endless struct {
	context.Context //nolint:containedctx // it is a context
}

// Done is never closed.
func (endless) Done() <-chan struct{} { return nil }

// Err is nil.
func (endless) Err() error { return nil }

// Deadline is none.
func (endless) Deadline() (deadline time.Time, ok bool) { return deadline, false }

// A running is a statement while it runs.
type running struct {
	conn   *Conn
	ctx    context.Context //nolint:containedctx // what ends it
	driver context.Context //nolint:containedctx // what the driver is given
	done   func()
	cut    bool // by the connection's own means
}

// run begins a statement. A handler's ends with the handler's life.
func (c *Conn) run(ctx context.Context) running {
	life := c.Guard.lifeIn(ctx)
	if life == nil || c.cuts.cutter == nil {
		ctx, done := c.Guard.bind(ctx)
		return running{conn: c, ctx: ctx, driver: ctx, done: done}
	}
	if err := life.Err(); err != nil { // as a driver does before it begins
		return running{conn: c, ctx: life, driver: life, done: func() {}}
	}
	c.cuts.begin(life)
	return running{conn: c, ctx: life, driver: endless{ctx}, cut: true}
}

// end ends it, and says what its error means.
func (r running) end(err error) error {
	if r.cut {
		err = r.conn.cuts.finish(err)
	} else {
		defer r.done()
	}
	return r.conn.Guard.judge(r.ctx, err)
}

// lifeIn is the life of the handler that is inside, if nothing else ends ctx.
func (g *Guard) lifeIn(ctx context.Context) context.Context {
	g.mu.Lock()
	life := g.life
	g.mu.Unlock()
	if life == nil || ctx == life || ctx.Done() == nil || ctx.Done() == life.Done() {
		return life
	}
	return nil
}

// cutterOf is the connector's Cutter of a connection; nil: it has none.
func (c Connector) cutterOf(conn sqldriver.Conn) Cutter {
	if c.Cutter == nil {
		return nil
	}
	return c.Cutter(conn)
}
