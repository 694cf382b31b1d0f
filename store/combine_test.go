package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/store"
)

// Who writes alone has the first lane each time, and another one only while it is taken.
func TestWhoIsAloneHasTheSameLane(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		lanes []int
	)
	held, release := make(chan struct{}), make(chan struct{})
	c := store.NewCombiner(3, func(_ context.Context, lane int, ws []*store.Write) error {
		mu.Lock()
		lanes = append(lanes, lane)
		mu.Unlock()
		if len(ws[0].Before) > 0 { // this one stays for a while
			close(held)
			<-release
		}
		return nil
	})
	do := func(w *store.Write) {
		if err := c.Do(t.Context(), w); err != nil {
			t.Error(err)
		}
	}
	do(&store.Write{})
	do(&store.Write{})
	var long sync.WaitGroup
	long.Go(func() { do(&store.Write{Before: []string{"stay"}}) })
	<-held
	do(&store.Write{})
	lane, done, err := c.Borrow(t.Context())
	if err != nil || lane != 1 {
		t.Errorf("borrowed lane %d, %v, want 1", lane, err)
	}
	do(&store.Write{})
	close(release)
	long.Wait()
	do(&store.Write{})
	done()
	do(&store.Write{})
	for i, want := range []int{0, 0, 0, 1, 2, 0, 0} {
		if i >= len(lanes) || lanes[i] != want {
			t.Fatalf("lanes %v, want 0 0 0 1 2 0 0", lanes)
		}
	}
}
