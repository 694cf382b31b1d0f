package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

// apart is longer than lone messages must lie apart to be given to who waits.
const apart = 3 * time.Millisecond

// offers counts those that a worker has made.
func offers(t *testing.T, s *store.Store, r *running) int {
	t.Helper()
	return count(t, s, "select count(*) from posthorn_offer where worker = ? and room > 0", r.ID())
}

// lively sends messages one by one until a worker offers to take some.
func lively(t *testing.T, s *store.Store, r *running) {
	t.Helper()
	until(t, "it offers to take messages", func() bool {
		dispatch(t, s, job{})
		time.Sleep(apart)
		return offers(t, s, r) > 0
	})
}

// trickle sends messages one by one, until the channel is closed that it returns.
func trickle(t *testing.T, s *store.Store, n int) <-chan struct{} {
	t.Helper()
	sent, d := make(chan struct{}), dispatcher(t, s)
	go func() {
		defer close(sent)
		for range n {
			if _, err := d.Dispatch(context.WithoutCancel(t.Context()), job{}); err != nil {
				t.Error(err)
			}
			time.Sleep(apart)
		}
	}()
	return sent
}

// A worker that has no slot left is given nothing that another one could begin.
func TestWhoHasNoSlotLeftIsGivenNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	leave, inside := make(chan struct{}), make(chan struct{}, 2)
	m := handle(func(ctx context.Context, j job) error {
		if j.How == "long" {
			inside <- struct{}{}
			select {
			case <-leave:
			case <-ctx.Done():
			}
		}
		return nil
	})
	full := start(t, s, m, worker.Options{Concurrency: 2, Prefetch: -1})
	lively(t, s, full)
	dispatch(t, s, job{How: "long"})
	<-inside
	many := []posthorn.Message{job{How: "long"}, job{}} // which are not given, but claimed
	if _, err := dispatcher(t, s).DispatchMany(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	<-inside
	until(t, "it offers nothing more", func() bool { return offers(t, s, full) == 0 })
	free := start(t, s, m, worker.Options{})
	for range 20 {
		dispatch(t, s, job{})
		time.Sleep(apart)
	}
	free.until(21, verdict(driver.Ack)) // with the one that was sent with the long one
	close(leave)
}

// Who has stopped is given nothing any more, and what it was given and had not begun is as if nobody had touched it.
func TestWhoStopsIsGivenNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := handle(func(context.Context, job) error { return nil })
	for range 5 {
		r := start(t, s, m, worker.Options{Concurrency: 4})
		lively(t, s, r)
		sent := trickle(t, s, 20)
		time.Sleep(10 * apart)
		r.end()
		await(t, sent, "all is sent")
		if n := offers(t, s, r); n > 0 {
			t.Error("it offers still to take messages")
		}
		if n := count(t, s, "select count(*) from posthorn_message where state <> 0"); n > 0 {
			t.Errorf("%d messages are not ready", n)
		}
		if n := count(t, s, "select count(*) from posthorn_attempt"); n > 0 {
			t.Errorf("%d attempts were noted", n)
		}
	}
}

// A limit of messages is exact where they are given, too.
func TestAMessageLimitIsExactForWhatIsGiven(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const limit = 50
	m := handle(func(context.Context, job) error { return nil })
	r := start(t, s, m, worker.Options{Concurrency: 4, Limits: worker.Limits{Messages: limit}})
	for i := range 2 * limit {
		dispatch(t, s, job{N: i})
		time.Sleep(apart)
	}
	r.wait()
	if n := len(r.seen(class(driver.ClassDone))); n != limit {
		t.Errorf("%d messages were handled, want %d", n, limit)
	}
	if n := count(t, s, "select count(*) from posthorn_message where state = 0"); n != limit {
		t.Errorf("%d messages are left ready, want %d", n, limit)
	}
}

// A suspect has no neighbour that its worker was given.
func TestASuspectRunsWithNothingGivenBesideIt(t *testing.T) {
	t.Parallel()
	dsn := newPath(t)
	s, far := openStore(t, dsn), openStore(t, dsn)
	m := handle(func(ctx context.Context, _ job) error {
		d, _ := posthorn.DeliveryFrom(ctx)
		if d.Crashes < 2 {
			return nil
		}
		for range 10 {
			if n := count(t, s, "select count(*) from posthorn_message where state = 2"); n != 1 {
				return fmt.Errorf("%d messages are claimed beside a suspect", n-1)
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}, noRetry())
	r := start(t, s, m, worker.Options{Concurrency: 4})
	sending, end := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer end()
	others.Go(func() {
		for ; sending.Err() == nil; time.Sleep(time.Millisecond) {
			dispatch(t, far, job{})
		}
	})
	for range 40 {
		id := dispatch(t, s, job{}, posthorn.WithDelay(20*time.Millisecond))
		exec(t, s, "update posthorn_message set crashes = 2 where id = ?", id)
		r.until(1, func(e worker.Event) bool { return e.Delivery.ID == id && e.Verdict != driver.Release })
	}
	end()
	others.Wait()
	for _, e := range r.seen(verdict(driver.Bury)) {
		t.Errorf("%v", e.Err)
	}
	if !given(r) {
		t.Error("nothing was given")
	}
}

// given reports whether a worker was given messages: by one offer come several claims whose tokens begin alike.
func given(r *running) bool {
	claims := map[string]driver.Token{}
	for _, e := range r.seen(verdict(driver.Ack)) {
		_, claim, _ := strings.Cut(string(e.Delivery.Token), ".")
		if other, known := claims[claim[:13]]; known && !strings.HasSuffix(string(other), claim) {
			return true
		}
		claims[claim[:13]] = e.Delivery.Token
	}
	return false
}
