package torture

import (
	"context"
	"sync"
	"time"
)

// A pulse tells when messages get done, whoever does them.
type pulse struct {
	mu   sync.Mutex
	done int64
	next chan struct{} // closed at the next one
}

func newPulse() *pulse { return &pulse{next: make(chan struct{})} }

// beat is told of messages that are done.
func (p *pulse) beat(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	close(p.next)
	p.next = make(chan struct{})
}

// await waits until another message is done, and returns how long that took. It is
// false when there was none within a time.
func (p *pulse) await(ctx context.Context, within time.Duration) (time.Duration, bool) {
	p.mu.Lock()
	next, since := p.next, time.Now()
	p.mu.Unlock()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-next:
		return time.Since(since), true
	case <-timer.C:
	case <-ctx.Done():
	}
	return time.Since(since), false
}
