package inhand_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/inhand"
)

var (
	errAway = errors.New("the worker is ending")
	errLost = errors.New("the lease is lost")
	errLate = errors.New("the handler is late")
)

// userKey is a key of somebody else's.
type userKey struct{}

// A pair is what a worker makes of a root for a message, and what package context makes of
// the same root.
type pair struct {
	abort         context.CancelCauseFunc
	message, part *inhand.Context
	lose          context.CancelCauseFunc
	end           context.CancelFunc
	models        [2]context.Context // of message and part
	message0      *driver.Delivery
}

func newPair(deadline time.Time) *pair {
	root, abort := context.WithCancelCause(context.WithValue(context.Background(), userKey{}, "the root's"))
	p := &pair{abort: abort, message: &inhand.Context{}, part: &inhand.Context{}, message0: &driver.Delivery{}}
	p.message.Carry(root, inhand.Message{Delivery: p.message0})
	p.part.Bound(p.message, deadline, errLate)
	p.models[0], p.lose = context.WithCancelCause(root)
	if deadline.IsZero() {
		p.models[1], p.end = context.WithCancel(p.models[0])
	} else {
		p.models[1], p.end = context.WithDeadlineCause(p.models[0], deadline, errLate)
	}
	return p
}

func (p *pair) close() {
	p.abort(nil)
	p.lose(nil)
	p.end()
	p.message.End(nil)
	p.part.End(nil)
}

func done(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// Whatever is asked in whatever order, it says what package context would.
func TestContextIsWhatPackageContextWouldMake(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var deadline time.Time
		switch rapid.IntRange(0, 2).Draw(t, "deadline") {
		case 1:
			deadline = time.Now().Add(time.Hour)
		case 2:
			deadline = time.Now().Add(-time.Hour)
		}
		p := newPair(deadline)
		defer p.close()
		if !deadline.IsZero() && time.Now().After(deadline) {
			_ = p.part.Err() // who never asked cannot know that the deadline was before the end
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			p.step(t)
		}
	})
}

// step ends something, or asks both for the same.
func (p *pair) step(t *rapid.T) {
	n := rapid.IntRange(0, 1).Draw(t, "context")
	mine := []context.Context{p.message, p.part}[n]
	model := p.models[n]
	same := func(what string, a, b any) {
		if a != b {
			t.Fatalf("%s of context %d is %v, of package context's %v", what, n, a, b)
		}
	}
	switch rapid.SampledFrom([]string{
		"err", "err", "cause", "cheap cause", "done", "value", "deadline", "child", "abort", "lose", "end",
	}).Draw(t, "step") {
	case "err":
		same("Err", mine.Err(), model.Err())
	case "cause":
		same("Cause", context.Cause(mine), context.Cause(model))
	case "cheap cause":
		same("Cause", inhand.Cause(mine), context.Cause(model))
	case "done":
		same("Done", done(mine), done(model))
	case "value":
		same("the root's value", mine.Value(userKey{}), "the root's")
		m, ok := mine.Value(inhand.Key{}).(*inhand.Message)
		same("message", ok && m.Delivery == p.message0, true)
	case "deadline":
		a, aok := mine.Deadline()
		b, bok := model.Deadline()
		same("Deadline", a, b)
		same("having a deadline", aok, bok)
	case "child":
		child, end := context.WithCancel(mine)
		defer end()
		same("Err of a child", child.Err(), model.Err())
		same("Cause of a child", context.Cause(child), context.Cause(model))
	case "abort":
		p.abort(errAway)
	case "lose":
		p.lose(errLost)
		p.message.End(errLost)
	case "end":
		p.end()
		p.part.End(nil)
	}
}

// What was asked for before it ends hears of the end.
func TestEndIsHeard(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *pair){
		"of the root":    func(p *pair) { p.abort(errLost) },
		"of the message": func(p *pair) { p.message.End(errLost) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(time.Now().Add(time.Hour))
			defer p.close()
			called := make(chan error, 1)
			context.AfterFunc(p.part, func() { called <- context.Cause(p.part) })
			child, cancel := context.WithTimeout(p.part, time.Hour)
			defer cancel()
			end(p)
			<-p.part.Done()
			<-child.Done()
			if err := <-called; !errors.Is(err, errLost) || !errors.Is(context.Cause(child), errLost) {
				t.Errorf("causes %v and %v, want %v", err, context.Cause(child), errLost)
			}
		})
	}
}

// A deadline comes whether it was waited for or not.
func TestDeadlineEndsIt(t *testing.T) {
	t.Parallel()
	waits, asks := newPair(time.Now().Add(20*time.Millisecond)), newPair(time.Now().Add(20*time.Millisecond))
	defer waits.close()
	defer asks.close()
	<-waits.part.Done()
	for asks.part.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	for _, p := range []*pair{waits, asks} {
		if !errors.Is(p.part.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(p.part), errLate) {
			t.Errorf("ended by %v (%v), want %v", p.part.Err(), context.Cause(p.part), errLate)
		}
		if p.message.Err() != nil {
			t.Errorf("the message's context has ended, too: %v", p.message.Err())
		}
	}
}

// Many goroutines may ask while others end it: once it has ended it never stands again.
func TestContextIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	for range 200 {
		p := newPair(time.Now().Add(time.Hour))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { awaitEnd(t, p.part) })
		}
		wg.Go(func() { p.message.End(errLost) })
		wg.Go(func() { _ = p.part.Done() })
		wg.Wait()
		p.close()
	}
}

// awaitEnd asks until the context has ended, and then whether all that can be asked says so.
func awaitEnd(t *testing.T, ctx context.Context) {
	t.Helper()
	for ctx.Err() == nil {
		_ = ctx.Value(inhand.Key{})
	}
	if !done(ctx) || context.Cause(ctx) == nil || ctx.Err() == nil {
		t.Error("Err says that it has ended, Done or Cause that it has not")
	}
}

// Who asks for no more than workers do themselves pays for no more.
//
//nolint:paralleltest // allocations of others would count
func TestNothingIsMadeForWhoDoesNotAsk(t *testing.T) {
	root, stop := context.WithCancel(context.Background())
	defer stop()
	d := &driver.Delivery{}
	made := testing.AllocsPerRun(100, func() {
		var message, part inhand.Context
		message.Carry(root, inhand.Message{Delivery: d})
		part.Bound(&message, time.Now().Add(time.Minute), errLate)
		if part.Err() != nil || inhand.Cause(&part) != nil || part.Value(inhand.Key{}) == nil {
			t.Error("it has ended, or carries nothing")
		}
		part.End(nil)
		message.End(errLost)
	})
	if made > 3 { // the contexts themselves, which a worker has in what it holds, and what Value gives
		t.Errorf("%v allocations, want no more than 3", made)
	}
}
