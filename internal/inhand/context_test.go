package inhand_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// A pair is what a worker makes for a message: the root, which ends with the worker, the message's
// and that of a part of its handler; and what package context makes of the same.
type pair struct {
	root, message, part *inhand.Context
	delivery            *driver.Delivery

	abort, lose context.CancelCauseFunc
	end         context.CancelFunc
	models      [2]context.Context // of message and part
}

func newPair(deadline time.Time) *pair {
	values := context.WithValue(context.Background(), userKey{}, "the root's")
	p := &pair{root: &inhand.Context{}, message: &inhand.Context{}, part: &inhand.Context{}, delivery: &driver.Delivery{}}
	p.root.Carry(values, inhand.Message{})
	p.message.Carry(p.root, inhand.Message{Delivery: p.delivery})
	p.part.Bound(p.message, deadline, errLate)
	var root context.Context
	root, p.abort = context.WithCancelCause(values)
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
	p.root.End(nil)
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

// A step ends something, or asks one of the two contexts.
type step struct {
	what string
	n    int // of the context
}

// Whatever is asked and whatever ends in whatever order, it says what package context would,
// also where nobody has asked before.
func TestContextIsWhatPackageContextWouldMake(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seconds := rapid.IntRange(-2, 3).Draw(rt, "seconds to the deadline; -2 is none")
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{rapid.SampledFrom([]string{
				"err", "cause", "cheap cause", "done", "value", "deadline", "child", "wait", "wait", "wait", "abort", "lose", "end",
			}).Draw(t, "what"), rapid.IntRange(0, 1).Draw(t, "context")}
		}), 1, 12).Draw(rt, "steps")
		var wrong []string
		synctest.Test(t, func(*testing.T) {
			var deadline time.Time
			if seconds > -2 {
				deadline = time.Now().Add(time.Duration(seconds) * time.Second)
			}
			p := newPair(deadline)
			defer p.close()
			for _, s := range steps {
				wrong = append(wrong, p.step(s)...)
			}
		})
		if len(wrong) > 0 {
			rt.Fatalf("%q", wrong)
		}
	})
}

// step does a step with both, and says what differs.
func (p *pair) step(s step) (wrong []string) {
	mine := []context.Context{p.message, p.part}[s.n]
	model := p.models[s.n]
	same := func(what string, a, b any) {
		if a != b {
			wrong = append(wrong, fmt.Sprintf("%s of context %d is %v, of package context's %v", what, s.n, a, b))
		}
	}
	switch s.what {
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
		same("message", ok && m.Delivery == p.delivery, true)
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
	default:
		p.pass(s.what)
	}
	return wrong
}

// pass lets time pass, or ends something.
func (p *pair) pass(what string) {
	switch what {
	case "wait":
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
	case "abort":
		p.abort(errAway)
		p.root.End(errAway)
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
		"of the root":    func(p *pair) { p.root.End(errLost) },
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

// A context is printed by whoever logs it, while others use it.
func TestPrintingIsReading(t *testing.T) {
	t.Parallel()
	p := newPair(time.Now().Add(time.Hour))
	defer p.close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if s := fmt.Sprintf("%v", p.part); !strings.Contains(s, "Carry(") || !strings.Contains(s, "Bound(") {
			t.Errorf("it says %s", s)
		}
	})
	wg.Go(func() { _ = p.part.Done() })
	wg.Go(func() { p.message.End(errLost) })
	wg.Wait()
}
