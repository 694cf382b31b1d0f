package failure

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/operation"
	"github.com/posthorn/posthorn/store"
)

// Bounds of finding out whether others wait.
const (
	waitsLong = 100 * time.Millisecond // others wait when a message is ready for longer
	feelEvery = 250 * time.Millisecond
	feelCost  = 1. / 50         // of the time, at most
	servedFor = 5 * time.Second // the list of queues that are served is believed
)

// A feeler finds out whether others wait.
type feeler struct {
	store  *store.Store
	served []string
	asked  time.Time // for the served ones
	next   time.Time
}

// feel looks for messages that wait for long, and tells the share, which stays as it is when
// that fails. It reports whether it was time to.
func (f *feeler) feel(ctx context.Context, s *operation.Share) (looked bool, err error) {
	began := time.Now()
	if began.Before(f.next) {
		return false, nil
	}
	queue, err := f.look(ctx, began)
	took := time.Since(began)
	f.next = began.Add(max(feelEvery, time.Duration(float64(took)/feelCost)))
	if err == nil {
		s.Hear(queue)
	}
	return true, err
}

func (f *feeler) look(ctx context.Context, now time.Time) (queue string, err error) {
	if now.Sub(f.asked) >= servedFor {
		if f.served, err = f.store.Served(ctx); err != nil {
			return "", err
		}
		f.asked = now
	}
	return f.store.Waits(ctx, f.served, waitsLong)
}
