package worker

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/inhand"
	"github.com/posthorn/posthorn/worker/verdict"
)

// horizon is how much work may be claimed ahead of the slots, in time: a
// message that waits in a worker cannot be taken by another one.
const horizon = 100 * time.Millisecond

// maxAhead bounds the bodies that are claimed ahead of the slots, in bytes, as far as
// what is claimed next is like what was claimed before.
const maxAhead = 16 << 20

// few is how many messages at most begin before the next are claimed.
const few = 8

// take claims messages until taking ends.
func (w *Worker) take(taking context.Context) {
	w.withdraw(taking)  // which says that it will be
	var suspect *parcel // it is begun when nothing else is in hand
	var next verdict.Next
	var last time.Time // when messages were received
	for taking.Err() == nil {
		if suspect != nil {
			w.withdraw(taking)
		}
		if suspect != nil && w.hand.len() == 1 {
			w.begin([]*parcel{suspect})
			suspect = nil
		}
		if w.rules.Isolated {
			next = verdict.Single
		}
		since := time.Since(last)
		room := w.room(next, since)
		if room <= 0 {
			w.withdraw(taking)
			w.waitForRoom(taking, gather-since)
			continue
		}
		ds, err := w.consumer.Receive(taking, room)
		if err != nil {
			w.weather.bad(taking, w.opts.Log, err)
			continue
		}
		failpoint.Pass(failpoint.AfterClaim)
		w.weather.good(w.opts.Log)
		last = time.Now()
		next, suspect = w.accept(ds, last)
		if len(ds) <= few {
			runtime.Gosched() // a slot begins on this processor: to wake another one for it takes longer
		}
	}
	if suspect != nil {
		w.giveUp([]*parcel{suspect})
	}
	w.withdraw(taking)
}

// withdrawFor bounds how long it is tried to take no more.
const withdrawFor = 5 * time.Second

// withdraw has nothing given to the worker until it receives again. What it was given is given back.
func (w *Worker) withdraw(taking context.Context) {
	c, ok := w.consumer.(driver.Withdrawer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(taking), withdrawFor)
	defer cancel()
	ds, err := c.Withdraw(ctx)
	if err != nil {
		w.opts.Log.Debug("cannot say that no more messages are wanted", "worker", w.id, "error", err)
	}
	if len(ds) == 0 {
		return
	}
	ps := make([]*parcel, len(ds))
	for i, d := range ds {
		ps[i] = w.newParcel(d, time.Now())
	}
	w.hand.add(ps)
	w.giveUp(ps)
}

// gather is how long after a claim more room is waited for, so that claims come in batches.
// Each is a commit; slots may be free meanwhile.
const gather = 4 * time.Millisecond

// room is how many messages may be claimed now, some time after the last ones; 0 says to wait.
// It waits until a good part of the room is free: while there is work ahead of the slots, or
// else for a while.
func (w *Worker) room(next verdict.Next, since time.Duration) int {
	switch {
	case next == verdict.AtOnce:
	case w.hand.len() > 0:
		return 0
	case next == verdict.Single:
		return w.allowed(1)
	}
	ahead := min(w.opts.Prefetch, w.pace.ahead(horizon))
	free := w.opts.Concurrency + ahead - w.hand.busy()
	little := free < (w.opts.Concurrency+ahead)/4
	if little && (len(w.work) > 0 || since < gather) {
		return 0
	}
	return w.allowed(free)
}

// allowed bounds n by what is left of the message limit.
func (w *Worker) allowed(n int) int {
	if limit := w.opts.Limits.Messages; limit > 0 {
		n = min(n, limit-int(w.count.handled.Load())-w.hand.len())
	}
	return n
}

// waitForRoom waits until there is more room, or until claims wait no longer for it.
func (w *Worker) waitForRoom(taking context.Context, left time.Duration) {
	var gathered <-chan time.Time
	if left > 0 {
		gathered = time.After(left)
	}
	select {
	case <-w.hand.freed:
	case <-gathered:
	case <-taking.Done():
	}
}

// accept takes deliveries in hand and hands them to the slots, but for suspects, which go
// back or wait (verdict.Sort). The suspect that is returned is to be handled alone.
func (w *Worker) accept(ds []driver.Delivery, claimed time.Time) (next verdict.Next, suspect *parcel) {
	ps := make([]*parcel, len(ds))
	for i, d := range ds {
		ps[i] = w.newParcel(d, claimed)
	}
	w.pace.claimed(ds)
	sorted := w.rules.Sort(ds, w.hand.len() == 0)
	w.hand.add(ps)
	w.giveUp(chosen(ps, sorted.Back))
	if sorted.Alone != verdict.Nobody {
		suspect = ps[sorted.Alone]
	}
	w.begin(chosen(ps, sorted.Begin))
	return sorted.Next, suspect
}

// chosen are the parcels with these indexes.
func chosen(ps []*parcel, indexes []int) []*parcel {
	out := make([]*parcel, len(indexes))
	for n, i := range indexes {
		out[n] = ps[i]
	}
	return out
}

// giveUp gives parcels back before they have begun.
func (w *Worker) giveUp(ps []*parcel) {
	for _, p := range ps {
		w.finish(p, driver.ErrShutdown)
	}
}

func (w *Worker) begin(ps []*parcel) {
	for _, p := range ps {
		w.work <- p // never blocks: its buffer holds all that may be in hand
	}
}

func (w *Worker) newParcel(d driver.Delivery, claimed time.Time) *parcel {
	p := &parcel{d: d, claimed: claimed}
	p.handler, _ = w.mux.Handler(d.Kind)
	p.ctx.Carry(&w.handlers, inhand.Message{Delivery: &p.d, Log: w.opts.Log})
	p.leaseEnd.Store(w.leaseEnd(claimed))
	return p
}

// slot runs handlers, one at a time. A handler that ends its goroutine takes
// the slot with it, so another one takes its place.
func (w *Worker) slot(slots *sync.WaitGroup) {
	finished := false
	defer func() {
		if !finished {
			slots.Go(func() { w.slot(slots) })
		}
	}()
	for p := range w.work {
		if len(w.work) == 0 {
			w.hand.hint() // who claims waits while there is work ahead
		}
		w.process(p)
	}
	finished = true
}

// The times over which a pace is measured. The first ones are short: until there is a
// pace, nothing is claimed ahead, and until it stops growing, what is claimed is what bounds it.
const (
	spell      = horizon / 5
	firstSpell = 4 * time.Millisecond
)

// A pace is how many messages a worker settles in a second.
type pace struct {
	mu    sync.Mutex
	since time.Time // of what is counted; at first, when the first messages were claimed
	n     int
	held  int           // most messages in hand since then
	least time.Duration // least time for which one that was settled since then had been in hand
	rate  float64       // per second
	grown bool          // it has stopped growing
	size  float64       // of a body, in bytes
}

// claimed notes how large the bodies are. Larger ones are believed at once.
func (p *pace) claimed(ds []driver.Delivery) {
	if len(ds) == 0 {
		return
	}
	sum := 0
	for _, d := range ds {
		sum += len(d.Body)
	}
	mean := float64(sum) / float64(len(ds))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size = max(mean, 0.8*p.size+0.2*mean)
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

// settled counts messages that are done with, of those that are held. latest is when the last of
// them was claimed.
func (p *pace) settled(n, held int, latest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.since.IsZero() { // they were given up before one was begun
		p.since = now
		return
	}
	p.n, p.held = p.n+n, max(p.held, held)
	if took := now.Sub(latest); p.least == 0 || took < p.least {
		p.least = max(took, 1)
	}
	passed := now.Sub(p.since)
	if passed < firstSpell || p.grown && passed < spell {
		return
	}
	p.note(min(float64(p.n)/passed.Seconds(), p.most()))
	p.since, p.n, p.held, p.least = now, 0, 0, 0
}

// most is a bound of the pace, twice what Little's law says: so many are in hand, each for so long.
// Handlers that began together may also end together, and what is settled then is no pace.
func (p *pace) most() float64 { return 2 * float64(p.held) / p.least.Seconds() }

// note takes the rate of a spell into account.
func (p *pace) note(rate float64) {
	if p.grown = p.grown || rate <= p.rate; p.grown {
		rate = 0.5*p.rate + 0.5*rate
	}
	p.rate = rate
}

// ahead is how many messages are settled in d at the present pace, as far as their
// bodies may be held.
func (p *pace) ahead(d time.Duration) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(min(p.rate*d.Seconds(), maxAhead/max(p.size, 1)))
}
