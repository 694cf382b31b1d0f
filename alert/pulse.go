package alert

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
)

// A Pulse is a dead man's switch: it asks for an address at each healthy round of a monitor.
// What waits behind the address raises the alarm when nobody asks any more, because nothing
// here can: the host is gone, the monitor hangs, or something is critical. A nil Pulse does
// nothing.
type Pulse struct {
	web   web
	beats chan struct{} // at most one waits
}

// NewPulse makes a Pulse; its address is a secret.
func NewPulse(address Secret, proxy Proxy) *Pulse {
	return &Pulse{web: newWeb(address, proxy), beats: make(chan struct{}, 1)}
}

// beat asks for a sign of life, and does not wait for it.
func (p *Pulse) beat() {
	if p == nil {
		return
	}
	select {
	case p.beats <- struct{}{}:
	default: // one is waiting already
	}
}

// A heart gives the signs of life. Its functions are called in their order.
type heart struct{ rest, end func() }

// begin gives signs of life until the heart's end.
func (p *Pulse) begin(ctx context.Context, log *slog.Logger) heart {
	if p == nil {
		return heart{func() {}, func() {}}
	}
	ctx, cancel := context.WithCancel(ctx)
	resting, rested := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(rested)
		p.run(ctx, resting, log)
	})
	return heart{
		rest: func() { close(resting); <-rested },
		end:  func() { cancel(); wg.Wait() },
	}
}

// run asks for the address at each beat. A failure is told when it is new.
func (p *Pulse) run(ctx context.Context, resting <-chan struct{}, log *slog.Logger) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.beats:
		case <-resting:
			select {
			case <-p.beats: // the last one
			default:
				return
			}
		}
		err := p.ping(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("sign of life was not delivered", "error", err)
		}
		failing = err != nil
	}
}

// ping gives one sign of life.
func (p *Pulse) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultWithin)
	defer cancel()
	return p.web.do(ctx, request{method: http.MethodGet})
}
