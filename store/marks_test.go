package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// patience is more than anything takes that is well.
const patience = time.Minute

// A stream sends to a queue while it is consumed, in all the ways in which a
// message may come to stand before others that were taken already.
type stream struct {
	*testing.T
	store *store.Store
	late  int           // how many transactions each of four senders commits late
	lag   time.Duration // of them, at most

	mu   sync.Mutex
	open map[string]bool // sent, and not acknowledged
}

func (s *stream) envelope(id string) driver.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[id] = true
	e := driver.Envelope{ID: id, Kind: "k", Queue: "q", Body: []byte("x"), Priority: rand.IntN(5) - 2}
	if rand.IntN(4) == 0 {
		e.Delay = time.Duration(rand.IntN(150)) * time.Millisecond
	}
	return e
}

// commitLate sends in a transaction that is committed when others have overtaken it.
func (s *stream) commitLate(ctx context.Context, id string) error {
	tx, err := s.store.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := s.store.SendTx(ctx, tx, s.envelope(id)); err != nil {
		return err
	}
	time.Sleep(50*time.Millisecond + rand.N(s.lag-50*time.Millisecond))
	return tx.Commit()
}

func (s *stream) lateOnes(ctx context.Context, sender int) {
	for i := range s.late {
		if err := s.commitLate(ctx, fmt.Sprintf("late-%d-%d", sender, i)); err != nil {
			s.Error(err)
		}
	}
}

// settle acknowledges most deliveries, and gives the others back.
func (s *stream) settle(ctx context.Context, c driver.Consumer, ds []driver.Delivery) error {
	var ss []driver.Settlement
	for _, d := range ds {
		verdict := driver.Settlement{Delivery: d}
		switch {
		case d.Deliveries > 3:
		case rand.IntN(20) == 0:
			verdict.Verdict = driver.Release
		case rand.IntN(20) == 0:
			verdict.Verdict, verdict.Delay = driver.Retry, time.Duration(rand.IntN(100))*time.Millisecond
		case rand.IntN(50) == 0:
			continue // its lease runs out
		}
		ss = append(ss, verdict)
	}
	if err := c.Settle(ctx, ss...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range ss {
		if v.Verdict == driver.Ack {
			delete(s.open, v.Delivery.ID)
		}
	}
	return nil
}

func (s *stream) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Claims begin where the last one ended, and yet nothing is left behind while there
// is always something new to take.
func TestNothingIsLeftBehindWhereClaimsBegin(t *testing.T) {
	everywhere(t, func(t *testing.T, store *store.Store) {
		if !store.Marks {
			return // each claim begins at the start
		}
		s := &stream{T: t, open: map[string]bool{}, store: store, late: 12, lag: 200 * time.Millisecond}
		s.run(hold(t, store, "w0"), hold(t, store, "w1"))
	})
}

// hold consumes with leases that run out soon.
func hold(t *testing.T, s *store.Store, worker string) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Second, Worker: worker})
	try(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run sends and consumes until nothing is left.
func (s *stream) run(consumers ...driver.Consumer) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	var work sync.WaitGroup
	consuming, stop := context.WithCancel(ctx)
	for _, c := range consumers {
		work.Go(func() { s.consume(consuming, c) })
	}
	var senders sync.WaitGroup
	for n := range 4 {
		senders.Go(func() { s.lateOnes(ctx, n) })
	}
	flowing, dry := context.WithCancel(ctx)
	work.Go(func() { s.flow(flowing) })
	senders.Wait()
	s.await(ctx, "late-")
	dry()
	s.await(ctx, "")
	stop()
	work.Wait()
}

// flow keeps the queue from running dry. It sends no more than can be taken: else what has a low
// priority would rightly wait for ever.
func (s *stream) flow(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		for ctx.Err() == nil && s.left() > 300 {
			time.Sleep(5 * time.Millisecond)
		}
		envs := make([]driver.Envelope, 5)
		for j := range envs {
			envs[j] = s.envelope(fmt.Sprintf("flow-%d-%d", i, j))
		}
		if err := s.store.Send(context.WithoutCancel(ctx), envs...); err != nil {
			s.Error(err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *stream) consume(ctx context.Context, c driver.Consumer) {
	for {
		ds, err := c.Receive(ctx, 15)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = s.settle(ctx, c, ds)
		}
		if err != nil && ctx.Err() == nil {
			s.Error(err)
			return
		}
	}
}

// await waits until no message is open whose id begins so.
func (s *stream) await(ctx context.Context, prefix string) {
	s.Helper()
	for {
		n := 0
		s.mu.Lock()
		for id := range s.open {
			if len(id) >= len(prefix) && id[:len(prefix)] == prefix {
				n++
			}
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		if ctx.Err() != nil {
			s.Fatalf("%d messages %s* are left behind, %d in all", n, prefix, s.left())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
