package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// maxShared bounds the writes that share one commit.
const maxShared = 1000

// A Combiner lets writes share transactions. There are some lanes, each of
// which can run one transaction at a time; whoever gets a free lane runs the
// writes of all who wait at that moment, but for a second claim of those that run beside each
// other. A lone write waits for nobody; under load one commit carries many. It is safe for concurrent use.
type Combiner struct {
	lanes chan struct{} // has something for each free lane
	ended chan struct{} // closed by Close, so that nobody waits for a lane that it keeps
	run   func(ctx context.Context, lane int, ws []*Write) error

	waits, waited atomic.Int64 // by those who borrow: how often, and nanoseconds

	mu      sync.Mutex
	queue   []*write
	free    []bool // by lane
	sending bool   // a lane is busy with sends, and takes more of them when it is done
	closed  bool
}

// A write is one call that waits for its turn.
type write struct {
	*Write
	err  error
	done chan struct{}
}

// NewCombiner makes a Combiner with a number of lanes. run runs writes in one
// transaction on a lane, and commits it; it is never called twice at a time
// for the same lane.
func NewCombiner(lanes int, run func(ctx context.Context, lane int, ws []*Write) error) *Combiner {
	c := &Combiner{
		lanes: make(chan struct{}, lanes), free: make([]bool, lanes), ended: make(chan struct{}), run: run,
	}
	for lane := range lanes {
		c.put(lane)
	}
	return c
}

// get takes the first free lane, for who has got something out of lanes. Who is alone gets
// the same one each time: its connection has in memory what it needs, and the others rest.
func (c *Combiner) get() (lane int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lane = slices.Index(c.free, true)
	c.free[lane] = false
	return lane
}

// put gives a lane back.
func (c *Combiner) put(lane int) {
	c.mu.Lock()
	c.free[lane] = true
	c.mu.Unlock()
	c.lanes <- struct{}{}
}

// Do writes in a transaction that may be shared. It returns when that has been
// committed, or the write's error, or that of the commit. When ctx ends before
// it was begun, nothing is written.
func (c *Combiner) Do(ctx context.Context, wanted *Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{Write: wanted, done: make(chan struct{})}
	joined, err := c.enqueue(w)
	if err != nil {
		return err
	}
	lanes := c.lanes
	if joined {
		lanes = nil
	}
	select {
	case <-w.done:
		return w.err
	case <-lanes:
		lane := c.get()
		c.serve(context.WithoutCancel(ctx), lane)
		c.put(lane)
	case <-ctx.Done():
		if c.withdraw(w) {
			return ctx.Err()
		}
	}
	<-w.done
	return w.err
}

// Borrow takes a lane for something else than writes, until done is called.
func (c *Combiner) Borrow(ctx context.Context) (lane int, done func(), err error) {
	if lane, err = c.wait(ctx); err != nil {
		return 0, nil, err
	}
	if c.isClosed() {
		c.put(lane)
		return 0, nil, driver.ErrClosed
	}
	return lane, func() { c.put(lane) }, nil
}

// wait takes a lane as soon as there is one.
func (c *Combiner) wait(ctx context.Context) (lane int, err error) {
	select {
	case <-c.lanes:
		return c.get(), nil
	default:
	}
	began := time.Now()
	defer func() {
		c.waits.Add(1)
		c.waited.Add(int64(time.Since(began)))
	}()
	select {
	case <-c.lanes:
		return c.get(), nil
	case <-c.ended:
		return 0, driver.ErrClosed
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Close refuses new writes, and waits until those that were accepted are done
// and every lane is free. It keeps the lanes. It is called once.
func (c *Combiner) Close(ctx context.Context) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	close(c.ended)
	for range cap(c.lanes) {
		<-c.lanes
		c.serve(ctx, c.get())
	}
}

func (c *Combiner) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// maxJoined is how many writes may wait for a lane that sends before another one
// is taken.
const maxJoined = 200

// enqueue lets a write wait for its turn. Where it is joined, a lane is sure to take
// it: sends wait for each other, since a commit of many costs hardly more than one
// of few.
func (c *Combiner) enqueue(w *write) (joined bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, driver.ErrClosed
	}
	c.queue = append(c.queue, w)
	return c.sending && w.sends() && len(c.queue) <= maxJoined, nil
}

// sends reports whether nothing but sends is to be written.
func (w *Write) sends() bool {
	return len(w.Send) > 0 && len(w.Ack) == 0 && w.Take == nil && w.Func == nil
}

// withdraw takes back a write that nobody has begun.
func (c *Combiner) withdraw(w *write) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.queue {
		if other == w {
			c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// serve runs what waits on a lane that the caller holds.
func (c *Combiner) serve(ctx context.Context, lane int) {
	sender := false
	for {
		batch := c.next(&sender)
		if len(batch) == 0 {
			return
		}
		c.shared(ctx, lane, batch)
		if sender && len(batch) > 1 {
			c.gather(len(batch))
		}
	}
}

// next takes what waits. sender is whether this lane is the one that sends wait for.
func (c *Combiner) next(sender *bool) []*write {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.together()
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	if n == 0 && *sender {
		c.sending, *sender = false, false
	}
	if !c.sending && slices.ContainsFunc(batch, func(w *write) bool { return w.sends() }) {
		c.sending, *sender = true, true
	}
	return batch
}

// together is how many of those that wait are written together. A second claim of those that run
// beside each other is left to another lane, or to the next transaction.
func (c *Combiner) together() int {
	n := min(len(c.queue), maxShared)
	beside := false
	for i, w := range c.queue[:n] {
		if w.Take == nil || !w.Take.Beside {
			continue
		}
		if beside {
			return i
		}
		beside = true
	}
	return n
}

// gatherFor bounds the wait for callers who have just been answered and are about
// to send again.
const gatherFor = 50 * time.Microsecond

// gather waits until as many wait again as have just been served.
func (c *Combiner) gather(want int) {
	for began := time.Now(); time.Since(began) < gatherFor; runtime.Gosched() {
		c.mu.Lock()
		n := len(c.queue)
		c.mu.Unlock()
		if n >= want {
			return
		}
	}
}

// shared runs writes in one transaction. When one fails, nothing is kept, and
// each runs again in its own, so that the failure is its own, too. When the
// store is away they all fail.
func (c *Combiner) shared(ctx context.Context, lane int, batch []*write) {
	ws := make([]*Write, len(batch))
	for i, w := range batch {
		ws[i] = w.Write
	}
	err := c.run(ctx, lane, ws)
	if err != nil && len(batch) > 1 && !errors.Is(err, driver.ErrUnavailable) {
		for _, w := range batch {
			c.shared(ctx, lane, []*write{w})
		}
		return
	}
	for _, w := range batch {
		w.err = err
		close(w.done)
	}
}
