package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// lined opens a store in which claims begin at the start once, and at a line from then on.
func lined(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, store.Options{Poll: 20 * time.Millisecond, SuspectPatience: 2 * time.Second})
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	s.StartRarely()
	return s
}

// settled consumes until claims begin at a line, and returns when one last began at the start.
func settled(t *testing.T, s *store.Store, c driver.Consumer) time.Time {
	t.Helper()
	deadline := time.Now().Add(patience)
	for i := 0; time.Now().Before(deadline); i++ { // until transactions have ended that others had begun before
		try(t, s.Send(t.Context(), message(fmt.Sprint("first-", i))))
		try(t, c.Settle(t.Context(), driver.Settlement{Delivery: receive(t, c)[0]}))
		if start, line := store.Begun(c, "q"); line.After(start) {
			return start
		}
		time.Sleep(60 * time.Millisecond)
	}
	t.Fatal("all claims begin at the start")
	return time.Time{}
}

// Claims begin at a line before which nothing can have changed, and nothing is left behind
// by two processes that give back, and let leases run out, while others commit late.
func TestNothingIsLeftBehindBeforeTheLine(t *testing.T) {
	t.Parallel()
	dsn := servers.PostgreSQL(t).DSN()
	one, two := lined(t, dsn), lined(t, dsn)
	c0, c1 := hold(t, one, "w0"), hold(t, two, "w1")
	consumers := []driver.Consumer{c0, c1}
	var began []time.Time
	for i, s := range []*store.Store{one, two} {
		began = append(began, settled(t, s, consumers[i]))
	}
	s := &stream{T: t, open: map[string]bool{}, store: two, late: 6, lag: time.Second}
	s.run(consumers...)
	for i, c := range consumers {
		onlyLines(t, c, began[i])
	}
}

// onlyLines makes sure that no claim has begun at the start since.
func onlyLines(t *testing.T, c driver.Consumer, began time.Time) {
	t.Helper()
	if again, _ := store.Begun(c, "q"); !again.Equal(began) {
		t.Errorf("a claim began at the start again, %s later: what it found proves nothing", again.Sub(began))
	}
}

// take receives one message, which must be this one, and acknowledges it.
func take(t *testing.T, c driver.Consumer, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ds, err := c.Receive(ctx, 1)
	if err != nil || ds[0].ID != want {
		t.Fatalf("received %v, %v; want %s", ids(ds), err, want)
	}
	try(t, c.Settle(t.Context(), driver.Settlement{Delivery: ds[0]}))
}

// More than a line is drawn too early by, and more than the time between two.
const afterALine, untilALine = 500 * time.Millisecond, 100 * time.Millisecond

// A claim that reached its limit has not seen what was committed late in lower priorities.
func TestWhatALineWasDrawnForIsNotForgottenWhereAClaimIsCutOff(t *testing.T) {
	t.Parallel()
	s := lined(t, servers.PostgreSQL(t).DSN())
	c := consume(t, s)
	began := settled(t, s, c)
	cutOff(t, s, c)
	take(t, c, "late")
	onlyLines(t, c, began)
	nothing(t, c)
}

// nothing makes sure that a queue is empty.
func nothing(t *testing.T, c driver.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), untilALine)
	defer cancel()
	if ds, err := c.Receive(ctx, 1); err == nil {
		t.Errorf("received %v of an empty queue", ids(ds))
	}
}

// The same where claims begin at the start: what one had no room for is looked for by the next.
func TestWhatAClaimFromTheStartHadNoRoomForIsOwed(t *testing.T) {
	t.Parallel()
	s, err := postgres.Open(t.Context(), servers.PostgreSQL(t).DSN(), store.Options{})
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	c := consume(t, s)
	cutOff(t, s, c)
	if !store.Owes(c, "q") {
		t.Error("the claim that was cut off owes nothing")
	}
	take(t, c, "late")
	nothing(t, c)
	if store.Owes(c, "q") {
		t.Error("what was owed has been looked for, and is owed still")
	}
}

// cutOff has something be committed late, and a claim that could find it be cut off before.
func cutOff(t *testing.T, s *store.Store, c driver.Consumer) {
	t.Helper()
	tx, err := s.DB().BeginTx(t.Context(), nil)
	try(t, err)
	defer func() { _ = tx.Rollback() }()
	try(t, s.SendTx(t.Context(), tx, message("late")))
	time.Sleep(afterALine)
	try(t, s.Send(t.Context(), message("after-it")))
	take(t, c, "after-it")
	try(t, tx.Commit())
	time.Sleep(untilALine)
	first := message("before-all")
	first.Priority = 1
	try(t, s.Send(t.Context(), first))
	take(t, c, "before-all")
}

// What somebody else had locked, and a claim passed over, is found when that came to nothing:
// that other one may be dead, and nobody else knows of it.
func TestALineIsDrawnBeforeWhatOthersHadLocked(t *testing.T) {
	t.Parallel()
	s := lined(t, servers.PostgreSQL(t).DSN())
	c := consume(t, s)
	began := settled(t, s, c)
	try(t, s.Send(t.Context(), message("locked")))
	time.Sleep(afterALine)
	urgent := message("urgent") // a line can be drawn behind what is locked next
	urgent.Priority = 1
	try(t, s.Send(t.Context(), urgent, message("free")))
	take(t, c, "urgent")
	tx, err := s.DB().BeginTx(t.Context(), nil)
	try(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), `select 1 from posthorn_message where id = 'locked' for update`)
	try(t, err)
	take(t, c, "free")
	time.Sleep(untilALine)
	try(t, s.Send(t.Context(), message("next")))
	take(t, c, "next")
	try(t, tx.Rollback())
	take(t, c, "locked")
	onlyLines(t, c, began)
}

func TestAMomentIsOneAtWhichATransactionHadNotBegun(t *testing.T) {
	t.Parallel()
	var ms store.Moments
	host := time.Now()
	if at := ms.Before(5); at != 0 {
		t.Errorf("nothing is known, and said is %d", at)
	}
	for i := range int64(10_000) {
		at := host.Add(time.Duration(i) * time.Millisecond)
		if !ms.Add(1000+i, 10+2*i, at, at) {
			t.Fatalf("moment %d: the clock is said to have gone back", i)
		}
		if at, tx := ms.Before(10+2*i), 10+2*i; at != 1000+i {
			t.Fatalf("transaction %d, the next one: %d", tx, at)
		}
	}
	if len(ms) > 256 {
		t.Errorf("%d moments are remembered", len(ms))
	}
	for tx := int64(1); tx < 20_020; tx++ {
		if at := ms.Before(tx); at > 1000+max(0, (tx-10)/2) {
			t.Fatalf("transaction %d: had begun before %d", tx, at)
		}
	}
	if at := ms.Before(0); at != 0 {
		t.Errorf("an unknown transaction: %d", at)
	}
	last := host.Add(9_999 * time.Millisecond)
	if ms.Add(10_999, 20_007, last, last) || ms.Before(20_008) != 10_999 || ms.Before(20_006) != 0 {
		t.Errorf("the count went back: %v", ms)
	}
	slow := last.Add(2 * time.Second)
	if !ms.Add(12_900, 20_008, last, slow) || !ms.Add(12_950, 20_008, slow, slow) || len(ms) != 3 {
		t.Errorf("an answer took a while: %v", ms)
	}
	if at := last.Add(3 * time.Second); ms.Add(13_500, 20_008, at, at) || len(ms) != 1 {
		t.Errorf("the clock went back by half a second within one: %v", ms)
	}
}
