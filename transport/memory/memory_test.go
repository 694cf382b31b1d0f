package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/drivertest"
	"github.com/posthorn/posthorn/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheTransportKeepsTheContract(t *testing.T) {
	drivertest.Run(t, opener(memory.Options{}))
}

func TestAPoorTransportKeepsTheContract(t *testing.T) {
	drivertest.Run(t, opener(memory.Options{
		MaxBody: 1000, NoDelay: true, NoPriority: true, NoBury: true, NoUniqueIDs: true, NoSuspects: true,
	}))
}

func opener(o memory.Options) func(*testing.T) drivertest.Opened {
	return func(*testing.T) drivertest.Opened { return drivertest.Opened{Transport: memory.New(o)} }
}

// start opens a transport and a consumer in a bubble, and closes both.
func start(t *testing.T, lease time.Duration) (*memory.Transport, driver.Consumer) {
	t.Helper()
	tr := memory.New(memory.Options{})
	t.Cleanup(func() { _ = tr.Close() })
	c, err := tr.Consume(t.Context(), driver.Subscription{Queues: []string{"mail"}, Lease: lease, Worker: "w-1"})
	if err != nil {
		t.Fatal(err)
	}
	return tr, c
}

func envelope(id string) driver.Envelope {
	return driver.Envelope{ID: id, Kind: "unsubscribe_email", Queue: "mail", Body: []byte(`{}`)}
}

func receive(t *testing.T, c driver.Consumer) driver.Delivery {
	t.Helper()
	ds, err := c.Receive(t.Context(), 1)
	if err != nil || len(ds) != 1 {
		t.Fatalf("received %d deliveries, %v", len(ds), err)
	}
	return ds[0]
}

func TestADelayIsExactInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, c := start(t, time.Minute)
		e := envelope("m-1")
		e.Delay = 36 * time.Hour
		began := time.Now()
		if err := tr.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		receive(t, c)
		if passed := time.Since(began); passed != e.Delay {
			t.Errorf("delivered after %s, want %s", passed, e.Delay)
		}
	})
}

func TestAClaimEndsWithItsLeaseInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, c := start(t, time.Minute)
		if err := tr.Send(t.Context(), envelope("m-1")); err != nil {
			t.Fatal(err)
		}
		d := receive(t, c)
		time.Sleep(time.Minute - 1)
		if err := c.Extend(t.Context(), d); err != nil {
			t.Errorf("extend before the lease's end: %v", err)
		}
		time.Sleep(time.Minute)
		ack := driver.Settlement{Delivery: d, Verdict: driver.Ack}
		if err := c.Settle(t.Context(), ack); !errors.Is(err, driver.ErrLeaseLost) {
			t.Errorf("ack at the lease's end returned %v, want %v", err, driver.ErrLeaseLost)
		}
	})
}

func TestADeadLetterKeepsItsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, c := start(t, time.Minute)
		if err := tr.Send(t.Context(), envelope("m-1")); err != nil {
			t.Fatal(err)
		}
		receive(t, c) // and fall silent
		bury := driver.Settlement{
			Delivery: receive(t, c), Verdict: driver.Bury, Reason: driver.ReasonRejected,
			Attempt: &driver.Attempt{Number: 1, Class: driver.ClassReject, Error: "no such list"},
		}
		if err := c.Settle(t.Context(), bury); err != nil {
			t.Fatal(err)
		}
		dead := tr.Dead()
		if len(dead) != 1 || len(tr.Live()) != 0 {
			t.Fatalf("%d dead, %d live; want 1 and 0", len(dead), len(tr.Live()))
		}
		l := dead[0]
		if l.Envelope.ID != "m-1" || l.Reason != driver.ReasonRejected || l.Deliveries != 2 || l.Crashes != 1 {
			t.Errorf("letter is %+v", l)
		}
		if len(l.Attempts) != 2 || l.Attempts[0].Class != driver.ClassCrash || l.Attempts[0].Worker != "w-1" ||
			l.Attempts[0].Duration != time.Minute || l.Attempts[1].Error != "no such list" {
			t.Errorf("history is %+v", l.Attempts)
		}
	})
}

func TestTheHistoryKeepsTheNewestAttempts(t *testing.T) {
	tr, c := start(t, time.Minute)
	if err := tr.Send(t.Context(), envelope("m-1")); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= driver.MaxAttempts+3; n++ {
		s := driver.Settlement{Delivery: receive(t, c), Verdict: driver.Retry, Attempt: &driver.Attempt{
			Number: n, Error: string(make([]byte, driver.MaxAttemptError+1)),
		}}
		if err := c.Settle(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Settle(t.Context(), driver.Settlement{Delivery: receive(t, c), Verdict: driver.Bury}); err != nil {
		t.Fatal(err)
	}
	log := tr.Dead()[0].Attempts
	if len(log) != driver.MaxAttempts || log[0].Number != 4 || len(log[0].Error) != driver.MaxAttemptError {
		t.Errorf("%d attempts from number %d with %d bytes", len(log), log[0].Number, len(log[0].Error))
	}
}

func TestWhatATestLooksAtIsACopy(t *testing.T) {
	tr, _ := start(t, time.Minute)
	if err := tr.Send(t.Context(), envelope("m-1"), envelope("m-2")); err != nil {
		t.Fatal(err)
	}
	tr.Live()[0].Body[0] = 'X'
	live := tr.Live()
	if len(live) != 2 || live[0].ID != "m-1" || live[1].ID != "m-2" || string(live[0].Body) != `{}` {
		t.Errorf("live are %+v", live)
	}
}

func TestAnIdleReceiveEndsOnlyWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := start(t, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		if _, err := c.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("receive returned %v, want the context's error", err)
		}
	})
}
