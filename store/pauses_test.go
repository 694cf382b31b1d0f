package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// none makes sure that nothing is received for a while.
func none(t *testing.T, c driver.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if ds, err := c.Receive(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("received %v, %v", ids(ds), err)
	}
}

func pause(t *testing.T, s *store.Store, p store.Pause) store.Pause {
	t.Helper()
	p, err := s.Pause(t.Context(), p)
	try(t, err)
	return p
}

func TestNothingIsClaimedFromAPausedQueueAndWhatIsInFlightFinishes(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx, c := t.Context(), consume(t, s)
		try(t, s.Send(ctx, message("held")))
		held := receive(t, c)
		pause(t, s, store.Pause{Queue: "q", Reason: "the bank is down", Actor: "ann"})
		try(t, s.Send(ctx, message("waits")))
		none(t, c)
		try(t, c.Extend(ctx, held...))
		try(t, c.Settle(ctx, driver.Settlement{Delivery: held[0]}))
		was, err := s.Resume(ctx, "q")
		if try(t, err); !was {
			t.Error("there was no pause to end")
		}
		if got := ids(receive(t, c)); fmt.Sprint(got) != "[waits]" {
			t.Errorf("received %v", got)
		}
		if was, err = s.Resume(ctx, "q"); was || err != nil {
			t.Errorf("resumed again: %v, %v", was, err)
		}
	})
}

func TestOtherQueuesGoOnBesideAPausedOne(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q", "r"}, Lease: time.Minute})
		try(t, err)
		defer func() { _ = c.Close() }()
		pause(t, s, store.Pause{Queue: "q"})
		e := message("goes-on")
		e.Queue = "r"
		try(t, s.Send(t.Context(), message("waits"), e))
		if got := ids(receive(t, c)); fmt.Sprint(got) != "[goes-on]" {
			t.Errorf("received %v", got)
		}
		none(t, c)
	})
}

func TestAPauseEndsByItselfByTheStoresClock(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		p := pause(t, s, store.Pause{Queue: "q", Reason: "r", Actor: "a", Until: time.Now(), For: time.Hour})
		if p.Until.Sub(p.Since) != time.Hour || p.For != 0 {
			t.Errorf("in force is %+v", p)
		}
		ps, now, err := s.Pauses(ctx)
		if err != nil || len(ps) != 1 || ps[0] != p || now.Before(p.Since) {
			t.Errorf("pauses %+v at %s, %v, want %+v", ps, now, err, p)
		}
		try(t, s.Send(ctx, message("m")))
		c := consume(t, s)
		none(t, c)
		_, err = s.DB().ExecContext(ctx, "update posthorn_pause set until_ms = since_ms + 1")
		try(t, err)
		receive(t, c)
		if ps, _, err := s.Pauses(ctx); len(ps) != 0 || err != nil {
			t.Errorf("pauses %+v, %v", ps, err)
		}
		try(t, s.Maintain(ctx, time.Hour))
		var left int
		if try(t, s.DB().QueryRowContext(ctx, "select count(*) from posthorn_pause").Scan(&left)); left != 0 {
			t.Errorf("%d rows are left", left)
		}
	})
}

func TestAPauseThatMakesNoSenseIsRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for _, c := range []struct {
			pause store.Pause
			want  error
		}{
			{store.Pause{Queue: "no queue"}, driver.ErrInvalid},
			{store.Pause{Queue: "q", For: -1}, driver.ErrInvalid},
			{store.Pause{Queue: "q", Until: time.Now().Add(-time.Hour)}, driver.ErrInvalid},
			{store.Pause{Queue: "q", Reason: strings.Repeat("r", store.MaxPauseText+1)}, driver.ErrTooLarge},
		} {
			if _, err := s.Pause(t.Context(), c.pause); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v, want %v", c.pause, err, c.want)
			}
		}
	})
}

// A pause by another process is a change of the same database: no hint of this
// process's own tells of it.
func TestConsumersOfOtherProcessesKeepAPause(t *testing.T) {
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := p.store(t, ""), p.store(t, "")
			c := consume(t, here)
			none(t, c) // it has read that there is no pause
			pause(t, there, store.Pause{Queue: "q"})
			time.Sleep(1100 * time.Millisecond) // a consumer may take so long to know
			try(t, there.Send(t.Context(), message("m")))
			none(t, c)
			_, err := there.Resume(t.Context(), "q")
			try(t, err)
			receive(t, c)
		})
	}
}

// The fault in order: pauses come and go while claims are under way.
func TestPausingUnderClaimsLosesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		const n = 400
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var work sync.WaitGroup
		defer work.Wait()
		defer cancel()
		work.Go(func() { toggle(ctx, s) })
		c := consume(t, s)
		for i := range n {
			try(t, s.Send(ctx, message(fmt.Sprint("m", i))))
		}
		seen := map[string]int{}
		for len(seen) < n {
			ds, err := c.Receive(ctx, 7)
			try(t, err)
			for _, d := range ds {
				seen[d.ID]++
				try(t, c.Settle(ctx, driver.Settlement{Delivery: d}))
			}
		}
		for id, times := range seen {
			if times != 1 {
				t.Errorf("%s was received %d times", id, times)
			}
		}
	})
}

// toggle pauses and resumes until ctx ends.
func toggle(ctx context.Context, s *store.Store) {
	for ctx.Err() == nil {
		_, _ = s.Pause(ctx, store.Pause{Queue: "q", For: 20 * time.Millisecond})
		time.Sleep(time.Millisecond)
		_, _ = s.Resume(ctx, "q")
	}
}
