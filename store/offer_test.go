package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// inEachPlace runs a test on each database.
func inEachPlace(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	t.Parallel()
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// standing is a consumer that may be given messages between two calls.
func standing(t *testing.T, s *store.Store, worker string, lease time.Duration) driver.Consumer {
	t.Helper()
	s.OfferForLong()
	return standingBriefly(t, s, worker, lease)
}

// standingBriefly is one whose offers end soon.
func standingBriefly(t *testing.T, s *store.Store, worker string, lease time.Duration) driver.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{
		Queues: []string{"p", "q"}, Lease: lease, Worker: worker, Standing: true,
	})
	try(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.(driver.Withdrawer).Withdraw(t.Context())
	try(t, err)
	return c
}

// number is the answer to a query for a number.
func number(t *testing.T, s *store.Store, query string) (n int) {
	t.Helper()
	try(t, s.DB().QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

// offering has a consumer offer to take messages, by letting it wait after a first one.
func offering(t *testing.T, s *store.Store, c driver.Consumer) {
	t.Helper()
	try(t, s.Send(t.Context(), message("first-"+fmt.Sprint(rand.Uint64()))))
	try(t, c.Settle(t.Context(), driver.Settlement{Delivery: receive(t, c)[0]}))
	wait(t, c, 10)
}

// wait has a consumer wait until it has made an offer.
func wait(t *testing.T, c driver.Consumer, room int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if ds, err := c.Receive(ctx, room); err == nil {
			t.Errorf("received %v of an empty queue", ids(ds))
		}
	}()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		there, err := store.Room(t.Context(), c)
		if err != nil || there > 0 || time.Since(began) > patience {
			if there == 0 {
				t.Errorf("no offer was made: %v", err)
			}
			break
		}
	}
	cancel()
	<-ended
}

// give sends a message alone, and says whether it was given to a consumer.
func give(t *testing.T, s *store.Store, id string) bool {
	t.Helper()
	time.Sleep(store.HandAfter)
	try(t, s.Send(t.Context(), message(id)))
	return number(t, s, "select state from posthorn_message where id = '"+id+"'") == 2
}

// Who waits is given what is sent alone, as it was sent, and counted as delivered; it needs no claim.
func TestWhoWaitsIsGivenWhatIsSentAlone(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s, sender := p.store(t, ""), p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		offering(t, s, c)
		for i := range 3 { // SQLite gives the same sequence to each
			e := message(fmt.Sprint("given-", i))
			e.Priority, e.Header, e.Body = 3-i, map[string]string{"a": "ä"}, []byte{0, 255}
			time.Sleep(store.HandAfter)
			try(t, sender.Send(t.Context(), e))
			d := receive(t, c)[0]
			if !store.WasGiven(c, d) {
				t.Fatalf("%s was claimed", d.ID)
			}
			if d.ID != e.ID || d.Kind != e.Kind || d.Queue != e.Queue || d.Priority != e.Priority || d.Attempt != 0 ||
				d.Header["a"] != "ä" || string(d.Body) != "\x00\xff" || d.Deliveries != 1 || d.Crashes != 0 ||
				d.SentAt.IsZero() || !d.NotBefore.Equal(d.SentAt) {
				t.Errorf("sent %+v, received %+v", e, d)
			}
			try(t, c.Extend(t.Context(), d))
			try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d}))
		}
		if n := number(t, s, "select count(*) from posthorn_message"); n > 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// What is not sent alone, or is not due, or is for another queue, is not given to anybody.
func TestWhatIsNotGiven(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		offering(t, s, c)
		later, other := message("later"), message("other")
		later.Delay, other.Queue = time.Hour, "p"
		for _, envs := range [][]driver.Envelope{{message("one"), message("two")}, {later}, {other}} {
			time.Sleep(store.HandAfter)
			try(t, s.Send(t.Context(), envs...))
		}
		if n := number(t, s, "select count(*) from posthorn_message where state = 2"); n > 0 {
			t.Errorf("%d of them were given", n)
		}
		if !give(t, s, "alone") {
			t.Error("what is sent alone was not given")
		}
		if got := ids(append(receive(t, c), receive(t, c)...)); !slices.Equal(got, []string{"alone", "one", "other", "two"}) {
			t.Errorf("received %v", got)
		}
	})
}

// An offer is for so many, and no more.
func TestNobodyIsGivenMoreThanThereIsRoomFor(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		try(t, s.Send(t.Context(), message("first")))
		try(t, c.Settle(t.Context(), driver.Settlement{Delivery: receive(t, c)[0]}))
		wait(t, c, 2)
		for i, want := range []bool{true, true, false} {
			if got := give(t, s, fmt.Sprint("m", i)); got != want {
				t.Errorf("message %d of two that there is room for was given: %t", i, got)
			}
		}
	})
}

// Among those who wait the one with the most room is given the next.
func TestTheOneWithTheMostRoomIsGivenTheNext(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		small, large := standing(t, s, "small", time.Minute), standing(t, s, "large", time.Minute)
		for i, c := range []driver.Consumer{small, large} {
			try(t, s.Send(t.Context(), message(fmt.Sprint("first-", i))))
			try(t, c.Settle(t.Context(), driver.Settlement{Delivery: receive(t, c)[0]}))
		}
		wait(t, small, 2)
		wait(t, large, 3)
		for i := range 3 {
			if !give(t, s, fmt.Sprint("m", i)) {
				t.Errorf("message %d was not given", i)
			}
		}
		for worker, want := range map[string]int{"small": 1, "large": 2} {
			if n := number(t, s, "select count(*) from posthorn_message where worker = '"+worker+"'"); n != want {
				t.Errorf("%s was given %d, want %d", worker, n, want)
			}
		}
	})
}

// Who withdraws has what was given, which is theirs to settle, and is given nothing more.
func TestWhoWithdrawsIsGivenNothingMore(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		offering(t, s, c)
		if !give(t, s, "a") || !give(t, s, "b") {
			t.Fatal("nothing was given")
		}
		ds, err := c.(driver.Withdrawer).Withdraw(t.Context())
		if got := ids(ds); err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("withdrawn: %v, %v", got, err)
		}
		if give(t, s, "c") {
			t.Error("it is given messages still")
		}
		if n := number(t, s, "select count(*) from posthorn_offer"); n > 0 {
			t.Errorf("%d offers stand", n)
		}
		for _, d := range ds {
			try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d, Verdict: driver.Release}))
		}
		if got := ids(receive(t, consume(t, s))); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("the next consumer received %v", got)
		}
	})
}

// What was given to a worker that died comes back at once where that is known, and its offer is gone.
func TestWhatWasGivenToTheDeadComesBack(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		offering(t, s, c)
		if !give(t, s, "a") {
			t.Fatal("nothing was given")
		}
		toll, err := s.ReleaseDead(t.Context(), driver.Death{Worker: "w", Cause: "killed", Begun: []driver.Token{}})
		if err != nil || toll.Released != 1 {
			t.Fatalf("%+v, %v; want one released", toll, err)
		}
		if give(t, s, "b") {
			t.Error("a dead worker is given messages")
		}
		if got := ids(receive(t, consume(t, s))); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("the next consumer received %v", got)
		}
	})
}

// Where nobody knows, it comes back when its lease is over, as a crash.
func TestWhatWasGivenAndNeverReadComesBackAfterItsLease(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", 2*time.Second)
		offering(t, s, c)
		if !give(t, s, "a") {
			t.Fatal("nothing was given")
		}
		d := receive(t, consume(t, s))[0]
		if d.ID != "a" || d.Crashes != 1 {
			t.Errorf("received %s with %d crashes, want a with one", d.ID, d.Crashes)
		}
	})
}

// Who reads late what was given has its lease renewed before, since it counts from then on.
func TestWhatIsReadLateIsRenewed(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", 20*time.Second)
		offering(t, s, c)
		if !give(t, s, "a") {
			t.Fatal("nothing was given")
		}
		before := number(t, s, "select wake_at from posthorn_message")
		time.Sleep(1300 * time.Millisecond) // more than a sixteenth
		d := receive(t, c)[0]
		after := number(t, s, "select wake_at from posthorn_message")
		if after < before+1250 || d.ID != "a" || d.Deliveries != 1 {
			t.Errorf("its lease ends %d ms later", after-before)
		}
	})
}

// A worker that is idle for long offers nothing, and leaves nothing in the database.
func TestWhoIsIdleForLongOffersNothing(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		c := standing(t, s, "w", time.Minute)
		offering(t, s, c)
		if n := number(t, s, "select count(*) from posthorn_offer"); n != 1 {
			t.Errorf("%d offers stand, want one", n)
		}
		s.OfferFor(100*time.Millisecond, 100*time.Millisecond)
		if err := store.Replace(t.Context(), c, "q", 5); err != nil { // one that ends
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if ds, err := c.Receive(ctx, 10); err == nil {
			t.Errorf("received %v of an empty queue", ids(ds))
		}
		if n := number(t, s, "select count(*) from posthorn_offer"); n > 0 {
			t.Errorf("%d offers stand", n)
		}
	})
}

// What the dead have offered is removed after an hour; what stands is kept.
func TestMaintenanceRemovesOffersOfTheDead(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		s := p.store(t, "")
		for worker, until := range map[string]string{"old": "until_ms - 7300000", "new": "until_ms"} {
			c := standing(t, s, worker, time.Minute)
			offering(t, s, c)
			_, err := s.DB().ExecContext(t.Context(),
				"update posthorn_offer set until_ms = "+until+", room = 0 where worker = '"+worker+"'")
			try(t, err)
		}
		try(t, s.Maintain(t.Context(), time.Hour))
		if n := number(t, s, "select count(*) from posthorn_offer where worker = 'new'"); n != 1 {
			t.Errorf("%d offers of the living are left, want one", n)
		}
		if n := number(t, s, "select count(*) from posthorn_offer"); n != 1 {
			t.Errorf("%d offers are left, want one", n)
		}
	})
}

// An unclear engine does not tell what became of transactions of which nobody is told.
type unclear struct {
	store.Engine
	on, commits bool
}

// errUndone undoes a transaction.
var errUndone = errors.New("undone")

// Write writes, or undoes what it has written.
func (e *unclear) Write(ctx context.Context, w *store.Write) error {
	if !e.on || !w.Quiet {
		return e.Engine.Write(ctx, w)
	}
	run := *w
	run.Func = func(ctx context.Context, q store.Session) error {
		err := w.Func(ctx, q)
		if err == nil && !e.commits {
			err = errUndone
		}
		return err
	}
	if err := e.Engine.Write(ctx, &run); err != nil && !errors.Is(err, errUndone) {
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrUnavailable, driver.ErrOutcomeUnknown)
}

// What was given is not lost where nobody knows whether the offer has ended, or another one stands; nor is it
// delivered twice.
func TestWhatWasGivenIsNotLostWithAnAnswer(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		for _, commits := range []bool{true, false} {
			s := p.store(t, "")
			e := &unclear{Engine: s.Engine, commits: commits}
			s.Engine = e
			withoutAnswers(t, s, e, fmt.Sprint(commits))
		}
	})
}

func withoutAnswers(t *testing.T, s *store.Store, e *unclear, name string) {
	c := standing(t, s, "w-"+name, time.Minute)
	ack := func(ds []driver.Delivery, want ...string) {
		t.Helper()
		if got := ids(ds); !slices.Equal(got, want) {
			t.Errorf("commits %s: received %v, want %v", name, got, want)
		}
		for _, d := range ds {
			try(t, c.Settle(t.Context(), driver.Settlement{Delivery: d}))
		}
	}
	unknown := func(err error) {
		t.Helper()
		if e.on = false; !errors.Is(err, driver.ErrOutcomeUnknown) {
			t.Errorf("commits %s: %v", name, err)
		}
	}
	offering(t, s, c)
	for round := range 2 {
		if !give(t, s, fmt.Sprint("a", round, name)) {
			t.Fatal("nothing was given")
		}
		e.on = true
		unknown(store.Replace(t.Context(), c, "q", 5))
		ack(receive(t, c), fmt.Sprint("a", round, name))
		if !give(t, s, fmt.Sprint("b", round, name)) {
			t.Errorf("commits %s: neither the old offer stands nor the new one", name)
		}
		ack(receive(t, c), fmt.Sprint("b", round, name))
	}
	if !give(t, s, "c"+name) {
		t.Error("nothing was given")
	}
	e.on = true
	ds, err := c.(driver.Withdrawer).Withdraw(t.Context())
	unknown(err)
	ack(ds, "c"+name)
	given := give(t, s, "d"+name)
	if given == e.commits {
		t.Errorf("commits %s: after the offer was withdrawn, a message was given: %t", name, given)
	}
	ack(receive(t, c), "d"+name)
	_, err = c.(driver.Withdrawer).Withdraw(t.Context())
	try(t, err)
}

// A roundup counts what was delivered.
type roundup struct {
	mu   sync.Mutex
	seen map[string]int
	want int
	all  chan struct{} // closed when so many were

	given int
}

// got settles what was delivered, and counts it.
func (y *roundup) got(ctx context.Context, c driver.Consumer, ds []driver.Delivery) error {
	for _, d := range ds {
		if err := c.Settle(ctx, driver.Settlement{Delivery: d}); err != nil {
			return err
		}
		y.mu.Lock()
		if store.WasGiven(c, d) {
			y.given++
		}
		if y.seen[d.ID]++; len(y.seen) == y.want && y.seen[d.ID] == 1 {
			close(y.all)
		}
		y.mu.Unlock()
	}
	return nil
}

// trickle sends messages one by one.
func trickle(t *testing.T, s *store.Store, prefix string, n int) {
	for i := range n {
		time.Sleep(rand.N(4 * time.Millisecond))
		if err := s.Send(t.Context(), message(fmt.Sprint(prefix, "-", i))); err != nil {
			t.Error(err)
		}
	}
}

// Whoever sends while another one withdraws: each message is delivered once, to somebody.
func TestNothingIsLostBetweenGivingAndWithdrawing(t *testing.T) {
	inEachPlace(t, func(t *testing.T, p place) {
		const senders, each = 3, 120
		s, far := p.store(t, ""), p.store(t, "")
		all := &roundup{seen: map[string]int{}, want: senders * each, all: make(chan struct{})}
		var work sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 2 {
			c := standing(t, s, fmt.Sprint("w", i), time.Minute)
			work.Go(func() { restless(t, ctx, c, all) })
		}
		for i := range senders {
			work.Go(func() { trickle(t, far, fmt.Sprint(i), each) })
		}
		select {
		case <-all.all:
		case <-time.After(patience):
			t.Error("not all messages were delivered")
		}
		cancel()
		work.Wait()
		t.Logf("at least %d of them were given", all.given)
		if len(all.seen) != all.want {
			t.Errorf("%d of %d messages were delivered", len(all.seen), all.want)
		}
		for id, n := range all.seen {
			if n != 1 {
				t.Errorf("%s was delivered %d times", id, n)
			}
		}
	})
}

// restless receives, and withdraws now and then.
func restless(t *testing.T, ctx context.Context, c driver.Consumer, all *roundup) {
	for ctx.Err() == nil {
		ds, err := c.Receive(ctx, 5)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if rand.IntN(3) == 0 || ctx.Err() != nil {
			back, err := c.(driver.Withdrawer).Withdraw(t.Context())
			if err != nil {
				t.Error(err)
			}
			ds = append(ds, back...)
		}
		if err := all.got(t.Context(), c, ds); err != nil {
			t.Error(err)
		}
	}
}

// Who has the rights of a producer alone gives nothing to anybody, and sends all the same; so does who loses rights.
func TestWhoHasNoRightToOffersSends(t *testing.T) {
	t.Parallel()
	for name, open := range stages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withoutRights(t, open(t))
		})
	}
}

func withoutRights(t *testing.T, g stage) {
	owner := g.cast(t, store.RoleOwner)
	producer, worker := g.cast(t, store.RoleProducer), g.cast(t, store.RoleWorker)
	c := standing(t, owner, "w", time.Minute)
	offering(t, owner, c)
	for i, step := range []struct {
		s    *store.Store
		want int
	}{{producer, 0}, {worker, 2}, {producer, 0}, {worker, 0}, {worker, 0}} {
		if i == 3 {
			run(t, g.Open(t), g.without(t, store.RoleWorker, "offer"))
		}
		id, state := fmt.Sprint("m", i), 0
		time.Sleep(store.HandAfter)
		try(t, step.s.Send(t.Context(), message(id)))
		query := "select state from " + g.names.Table("message") + " where id = '" + id + "'"
		try(t, owner.DB().QueryRowContext(t.Context(), query).Scan(&state))
		if state != step.want {
			t.Errorf("message %d is in state %d, want %d", i, state, step.want)
		}
	}
}

// without takes the rights to a table from a user.
func (g stage) without(t *testing.T, role store.Role, table string) string {
	t.Helper()
	user := g.Name + "-" + string(role)
	text, err := g.sql(store.Grant{Role: role, User: user, Database: g.Name, Names: g.names})
	try(t, err)
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, "_"+table+" ") {
			return strings.NewReplacer("grant ", "revoke ", " to ", " from ").Replace(line)
		}
	}
	t.Fatalf("no right to %s in %s", table, text)
	return ""
}
