package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
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
		awaitOne(t, begun)
	}
}

// awaitOne waits for a handler that begins.
func awaitOne(t *testing.T, begun <-chan int) {
	t.Helper()
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("a handler has not begun, though a slot is free")
	}
}

// A writing is a message whose handler only writes.
type writing struct{}

// Kind names it.
func (writing) Kind() string { return "writing" }

// A blocked is a store whose transactions wait for something, which its claims do not.
type blocked struct {
	*store.Store
	entered, until chan struct{}
}

// Transact waits first.
func (b blocked) Transact(ctx context.Context, units []driver.Unit) []error {
	b.entered <- struct{}{}
	<-b.until
	return b.Store.Transact(ctx, units)
}

// Where effects wait for a transaction, and the one that is open takes its time, the slots that are free
// take what comes all the same.
func TestAFreeSlotTakesWhatComesWhileEffectsWait(t *testing.T) {
	t.Parallel()
	const slots = 8
	s := blocked{newStore(t), make(chan struct{}, slots), make(chan struct{})}
	begun := make(chan int, slots)
	m := handle(func(_ context.Context, j job) error {
		begun <- j.N
		<-s.until
		return nil
	})
	posthorn.HandleTx(m, func(context.Context, *posthorn.Tx, writing) error { return nil })
	start(t, s, m, worker.Options{Concurrency: slots})
	defer close(s.until)
	dispatch(t, s, writing{})
	<-s.entered
	msgs := []posthorn.Message{writing{}, writing{}}
	for i := len(msgs); i < slots-2; i++ {
		msgs = append(msgs, job{N: i})
	}
	if _, err := dispatcher(t, s).DispatchMany(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	for i := 2; i < slots-1; i++ {
		if i == slots-2 {
			dispatch(t, s, job{N: i})
		}
		awaitOne(t, begun)
	}
}
