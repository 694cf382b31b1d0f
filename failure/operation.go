// Package failure is the workbench for dead letters: what is done to many of them at a
// time, and by whom it is carried on. A dashboard and the command line sit on it.
package failure

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/operation"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

// ExecutorOptions are the settings of an Executor.
type ExecutorOptions struct {
	// Name tells it from others in what people see, such as host and process. It
	// may not be empty.
	Name string
	// Lease is how long an operation waits for an executor that has fallen silent; 0
	// means 15 s.
	Lease time.Duration
	// Poll is how soon a new operation is found; 0 means 2 s, with jitter.
	Poll time.Duration
	// Share is the part of its time that it works at most, also where nobody waits, so
	// that others get at the store; 0 means half.
	Share float64
	Only  string // carries this operation on and no other; empty: all
	// Mux validates what edits make of letters. Without any handler in it, edits are
	// left to other executors, unless they are unchecked.
	Mux *posthorn.Mux
	Log *slog.Logger // nil means silence
}

func (o ExecutorOptions) withDefaults() ExecutorOptions {
	if o.Lease == 0 {
		o.Lease = 15 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = 2 * time.Second
	}
	if o.Share <= 0 || o.Share > 1 {
		o.Share = 0.5
	}
	if o.Mux == nil {
		o.Mux = posthorn.NewMux()
	}
	o.Log = tap.Logger(o.Log)
	return o
}

// An Executor carries operations on. Any number of them, in any processes, may look
// after one store: each operation is advanced by one at a time, and when that one
// falls silent another takes over. What it remembers is in the store alone.
type Executor struct {
	store *store.Store
	opts  ExecutorOptions
	turns []*hold
	blind bool // what there is to do cannot be seen
	deaf  bool // whether others wait cannot be seen
	share operation.Share
	feels feeler
}

// A hold is an operation that the executor advances.
type hold struct {
	turn  store.Turn
	next  time.Time
	watch operation.Watch
	duty  operation.Duty
	wants bool // letters wait for their turn, as far as is known
	rests bool // they wait for the others' sake
}

// tryAgain is how long an executor waits after an error.
const tryAgain = time.Second

// NewExecutor makes an executor of the operations of a store.
func NewExecutor(s *store.Store, o ExecutorOptions) *Executor {
	return &Executor{store: s, opts: o.withDefaults(), share: operation.NewShare(), feels: feeler{store: s}}
}

// Run carries operations on until ctx ends, and gives back then what it holds. While the
// store is away it waits. It returns nil.
func (e *Executor) Run(ctx context.Context) error {
	defer e.giveBack(context.WithoutCancel(ctx))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for looked := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if time.Since(looked) >= e.opts.Poll {
			e.take(ctx)
			looked = time.Now()
		}
		e.feel(ctx)
		e.round(ctx)
		timer.Reset(e.wait(looked))
	}
}

// wait is how long nothing is to be done.
func (e *Executor) wait(looked time.Time) time.Duration {
	const jitter = 0.2
	next := looked.Add(time.Duration(float64(e.opts.Poll) * (1 + jitter*rand.Float64())))
	for _, h := range e.turns {
		if h.next.Before(next) {
			next = h.next
		}
		if h.wants && e.feels.next.Before(next) {
			next = e.feels.next
		}
	}
	return max(time.Until(next), 0)
}

// wanting is how many operations have letters that wait for their turn.
func (e *Executor) wanting() (n int) {
	for _, h := range e.turns {
		if h.wants {
			n++
		}
	}
	return n
}

// feel looks from time to time whether others wait, and lets those that rest know.
func (e *Executor) feel(ctx context.Context) {
	n := e.wanting()
	if n == 0 {
		return
	}
	looked, err := e.feels.feel(ctx, &e.share)
	if !looked || ctx.Err() != nil {
		return
	}
	if err != nil && !e.deaf {
		e.opts.Log.Warn("operations cannot see whether others wait: they keep their pace", "error", err) // once
	}
	if e.deaf = err != nil; e.deaf {
		return
	}
	now := time.Now()
	for _, h := range e.turns {
		if at := now.Add(h.duty.Rest(now, e.share.Of(n))); h.rests && at.Before(h.next) {
			h.next = at
		}
	}
}

// take takes what nobody advances.
func (e *Executor) take(ctx context.Context) {
	turns, err := e.store.TakeOperations(ctx, e.opts.Name, e.opts.Lease, e.fits)
	if err != nil && ctx.Err() == nil && !e.blind {
		e.opts.Log.Warn("operations cannot be taken", "error", err) // once: it is tried again soon
	}
	e.blind = err != nil
	for _, t := range turns {
		t.Edit = e.edit
		e.turns = append(e.turns, &hold{turn: t, watch: operation.Watch{Lease: e.opts.Lease}})
	}
}

// fits reports whether the executor may carry an operation on.
func (e *Executor) fits(o store.Operation) bool {
	if e.opts.Only != "" && e.opts.Only != o.ID {
		return false
	}
	return o.Action != store.ActionEdit || o.Unchecked || len(e.opts.Mux.Kinds()) > 0
}

// edit makes the new version of a letter.
func (e *Executor) edit(o store.Operation, l store.Letter) (store.Edit, error) {
	v, err := VersionOf(l).Patch(o.Patch)
	if err != nil {
		return store.Edit{}, err
	}
	err = v.Check(e.opts.Mux, l.Kind)
	if o.Unchecked && errors.Is(err, ErrUncheckable) {
		err = nil
	}
	return store.Edit{Header: v.Header, Body: v.Body}, err
}

// round advances each operation whose time has come.
func (e *Executor) round(ctx context.Context) {
	var held []*hold
	for _, h := range e.turns {
		if time.Now().Before(h.next) || ctx.Err() != nil || e.advance(ctx, h) {
			held = append(held, h)
		}
	}
	e.turns = held
}

// advance takes one step, and reports whether the operation is still to be held.
func (e *Executor) advance(ctx context.Context, h *hold) bool {
	began, share := time.Now(), e.share.Of(e.wanting())
	h.turn.Rest, h.turn.Yields = !h.duty.Begin(began, share), e.share.Yields
	a, err := e.store.Advance(ctx, &h.turn)
	now := time.Now()
	switch {
	case errors.Is(err, store.ErrFenced):
		e.opts.Log.Warn("an operation was taken over", "operation", h.turn.ID)
		return false
	case err != nil:
		if ctx.Err() == nil && !errors.Is(err, driver.ErrUnavailable) {
			e.opts.Log.Warn("an operation could not be advanced", "operation", h.turn.ID, "error", err)
		}
		h.rest(tryAgain)
		return true
	case !a.Operation.Active():
		e.release(context.WithoutCancel(ctx), h)
		return false
	}
	seen := sightOf(a)
	h.duty.End(now, a.Took, seen)
	h.wants = a.Operation.Wants()
	h.rest(h.watch.After(seen, a.Wait, time.Duration(float64(a.Took)*(1/e.opts.Share-1))))
	if h.rests = h.wants && !h.duty.Allows(now, share); h.rests {
		h.rest(h.watch.Patience(seen, h.duty.Rest(now, share)))
	}
	return true
}

// sightOf is what a step has shown.
func sightOf(a store.Advance) operation.Sight {
	return operation.Sight{
		Moved: a.Moved, Found: a.Found, Flying: a.Operation.Flying, InHand: a.InHand, More: a.More,
		Writes: a.Operation.State == store.OperationFreezing,
	}
}

func (h *hold) rest(d time.Duration) { h.next = time.Now().Add(d) }

// giveBack ends what is held, so that others take it at once.
func (e *Executor) giveBack(ctx context.Context) {
	for _, h := range e.turns {
		e.release(ctx, h)
	}
	e.turns = nil
}

// release gives an operation back. If that fails its lease runs out.
func (e *Executor) release(ctx context.Context, h *hold) {
	const within = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_ = e.store.GiveBack(ctx, h.turn)
}
