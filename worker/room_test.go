package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/worker"
)

// A slot that is free takes what comes, however many others are at work for long: those
// have been claimed together, and one slot is less than is mostly waited for.
func TestAFreeSlotTakesWhatComesBesideSlowOnes(t *testing.T) {
	t.Parallel()
	for round := range 30 {
		t.Run(fmt.Sprint(round), fillAllButOneSlot)
	}
}

func fillAllButOneSlot(t *testing.T) {
	const slots = 8
	s := newStore(t)
	begun, release := make(chan int, slots), make(chan struct{})
	m := handle(func(_ context.Context, j job) error {
		begun <- j.N
		<-release
		return nil
	})
	msgs := make([]posthorn.Message, slots-1)
	for i := range msgs {
		msgs[i] = job{N: i}
	}
	if _, err := dispatcher(t, s).DispatchMany(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	start(t, s, m, worker.Options{Concurrency: slots})
	defer close(release)
	for i := range slots {
		if i == slots-1 {
			dispatch(t, s, job{N: i})
		}
		select {
		case <-begun:
		case <-time.After(patience):
			t.Fatalf("%d handlers of %d have begun", i, slots)
		}
	}
}
