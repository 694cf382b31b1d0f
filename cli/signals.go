package cli

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted by a signal")

// codeInterrupted is the code of the fault that says so.
const codeInterrupted = "E-INTERRUPTED"

// signals is what the process has been told by signals.
type signals struct {
	mu    sync.Mutex
	count int           // of the requests to stop
	abort func()        // cancels the handlers; nil: there are none
	hup   chan struct{} // wakes who can read the configuration again; nil: nobody
	deaf  bool          // this process ends otherwise
}

// watchSignals ends the context at the first signal to stop. The function that
// it returns ends the watching and waits for it.
func (s *session) watchSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case sig := <-s.io.Signals:
				s.heed(sig, cancel)
			case <-done:
				return
			}
		}
	})
	return ctx, func() {
		close(done)
		wg.Wait()
		cancel(nil)
	}
}

func (s *session) heed(sig os.Signal, cancel context.CancelCauseFunc) {
	if sig == syscall.SIGHUP && s.sig.reload() {
		return
	}
	s.interrupt(cancel)
}

// interrupt counts: stop; then cancel the handlers; then leave at once.
func (s *session) interrupt(cancel context.CancelCauseFunc) {
	s.sig.mu.Lock()
	if s.sig.deaf {
		s.sig.mu.Unlock()
		return
	}
	s.sig.count++
	count, abort := s.sig.count, s.sig.abort
	s.sig.mu.Unlock()
	switch {
	case count == 1:
		cancel(errInterrupted)
	case count == 2 && abort != nil:
		abort()
	case s.io.Exit != nil:
		s.io.Exit(exitInterrupted)
	}
}

// reload passes a SIGHUP on, if somebody wants it.
func (g *signals) reload() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hup == nil {
		return false
	}
	select {
	case g.hup <- struct{}{}:
	default: // one is waiting already
	}
	return true
}

// attend registers running workers: what cancels their handlers, and where
// they hear of a SIGHUP. The function that it returns ends that.
func (g *signals) attend(abort func(), hup chan struct{}) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abort, g.hup = abort, hup
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.abort, g.hup = nil, nil
	}
}

// ignore makes the process deaf to all of them.
func (g *signals) ignore() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf = true
}

// twice reports whether the process was told to stop more than once.
func (g *signals) twice() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count > 1
}

// interruption turns the error of a command that a signal ended into plain
// words. A command that was told to stop twice ends with 130.
func (s *session) interruption(ctx context.Context, err error) error {
	var told outcome
	var f *fault
	switch {
	case s.sig.twice():
		return outcome(exitInterrupted)
	case errors.As(err, &f) && (f.Exit == exitPartly || f.Code == codeInterrupted):
		return err
	case err == nil || !errors.Is(context.Cause(ctx), errInterrupted) || errors.As(err, &told):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, errInterrupted):
		return &fault{Code: codeInterrupted, Title: "interrupted", What: "the command was told to stop before it was done",
			Exit: exitFailed, err: err}
	}
	return err
}
