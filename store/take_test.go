package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/postgres"
)

// abreast opens a store with so many messages, of three priorities in turn, of which those
// are returned in the order in which they are to come. Claims look before their marks about
// never.
func abreast(t *testing.T, n int) (s *store.Store, want []string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), servers.PostgreSQL(t).DSN(), store.Options{Poll: time.Hour})
	try(t, err)
	t.Cleanup(func() { _ = s.Close() })
	s.StartRarely()
	envs := make([]driver.Envelope, n)
	for i := range envs {
		envs[i] = message(fmt.Sprintf("m-%05d", i))
		envs[i].Priority = i % 3
	}
	try(t, s.Send(t.Context(), envs...))
	_, err = s.DB().ExecContext(t.Context(), `update posthorn_message set due_at = due_at - 10000 + seq`)
	try(t, err) // else a mark is not before any of them
	slices.SortStableFunc(envs, func(a, b driver.Envelope) int { return b.Priority - a.Priority })
	for _, e := range envs {
		want = append(want, e.ID)
	}
	return s, want
}

// upTo receives at most so many, within patience.
func upTo(t *testing.T, c driver.Consumer, limit int) ([]driver.Delivery, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.Receive(ctx, limit)
}

// inOrder are the ids of deliveries as they came.
func inOrder(ds []driver.Delivery) (out []string) {
	for _, d := range ds {
		out = append(out, d.ID)
	}
	return out
}

// claimOf is the claim of a delivery.
func claimOf(d driver.Delivery) string {
	_, claim, _ := store.SplitToken(d.Token)
	return claim
}

// tokens counts the claims of deliveries.
func tokens(ds []driver.Delivery) int {
	seen := map[string]bool{}
	for _, d := range ds {
		seen[claimOf(d)] = true
	}
	return len(seen)
}

// Claims beside each other take together what one of them would have taken, in its order.
func TestClaimsAbreastTakeWhatOneWouldHave(t *testing.T) {
	t.Parallel()
	s, want := abreast(t, 3200)
	c := consume(t, s)
	for i, claims := range []int{1, 2, 2, 2} { // the first one cannot know how much there is
		ds, err := upTo(t, c, 900)
		try(t, err)
		n := min(len(want), map[int]int{1: 500, 2: 900}[claims])
		if got := tokens(ds); got != claims || !slices.Equal(inOrder(ds), want[:n]) {
			t.Fatalf("call %d: %d by %d claims, want %d by %d, in their order", i, len(ds), got, n, claims)
		}
		want = want[n:]
		var ss []driver.Settlement
		for _, d := range ds {
			ss = append(ss, driver.Settlement{Delivery: d})
		}
		try(t, c.Settle(t.Context(), ss...))
	}
	if len(want) > 0 {
		t.Errorf("%d are left", len(want))
	}
}

// When one of two claims fails, what the other one took is delivered, and what it would have
// taken comes with the next call, although it stands before that.
func TestAClaimThatFailsBesideAnotherLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s, want := abreast(t, 2000)
	failing := want[700]
	for _, stmt := range []string{ // nextval is not undone with the claim that fails
		`create sequence claims_of_it`,
		`create function fail_once() returns trigger language plpgsql as $$ begin
			if nextval('claims_of_it') = 1 then perform pg_sleep(0.2); raise exception 'not this time'; end if;
			return new; end $$`,
		`create trigger fail_once before update on posthorn_message for each row when (old.id = '` + failing + `')
			execute function fail_once()`,
	} {
		_, err := s.DB().ExecContext(t.Context(), stmt)
		try(t, err)
	}
	c := consume(t, s)
	for call := 0; len(want) > 0; call++ {
		ds, err := upTo(t, c, 1000)
		if err != nil {
			t.Fatalf("call %d, with %d left: %v", call, len(want), err)
		}
		if call == 1 && len(ds) != 500 {
			t.Fatalf("the call in which a claim fails received %d", len(ds))
		}
		got := inOrder(ds)
		if call != 1 && !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("call %d received others than the next %d", call, len(got))
		}
		left := len(want) - len(got)
		want = slices.DeleteFunc(want, func(id string) bool { return slices.Contains(got, id) })
		if len(want) != left {
			t.Fatalf("call %d received some that were received before", call)
		}
	}
}

// Of two claims of whose commits nobody knows, each is asked for by itself; what comes next is
// what stands of either, and nothing new.
func TestClaimsAbreastAreRecalledOneByOne(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(i int, first bool) bool{
		"one is lost":                func(i int, _ bool) bool { return i == 0 },
		"all of the first one is":    func(_ int, first bool) bool { return first },
		"all of the second one is":   func(_ int, first bool) bool { return !first },
		"one of each, and the first": func(i int, _ bool) bool { return i%450 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := abreast(t, 1500)
			recalled(t, s, lost)
		})
	}
}

func recalled(t *testing.T, s *store.Store, lost func(i int, first bool) bool) {
	t.Helper()
	c := consume(t, s)
	_, err := upTo(t, c, 500)
	try(t, err)
	ds, err := upTo(t, c, 900)
	try(t, err)
	slices.SortStableFunc(ds, func(a, b driver.Delivery) int { return strings.Compare(claimOf(a), claimOf(b)) })
	var held []driver.Delivery
	for i, d := range ds {
		if !lost(i, claimOf(d) == claimOf(ds[0])) {
			held = append(held, d)
			continue
		}
		_, err = s.DB().ExecContext(t.Context(), `update posthorn_message set token = 'another' where id = $1`, d.ID)
		try(t, err)
	}
	store.Unsure(c, slices.Clone(ds))
	for len(held) > 0 {
		part, err := upTo(t, c, 1000)
		try(t, err)
		if n := tokens(part); n != 1 || len(part) > len(held) || !slices.Equal(inOrder(part), inOrder(held[:len(part)])) {
			t.Fatalf("recalled %d of %d claims, of %d that are held", len(part), n, len(held))
		}
		held = held[len(part):]
	}
}

// A heldClaim is the second of two claims beside each other, which cannot end.
type heldClaim struct {
	*testing.T
	store *store.Store
	lock  *sql.Conn // has what it waits for
	c     driver.Consumer
}

// hang has one of the claims of the second call of a consumer wait until release.
func hang(t *testing.T, lease time.Duration) *heldClaim {
	t.Helper()
	s, want := abreast(t, 1500)
	for _, stmt := range []string{
		`create function hang() returns trigger language plpgsql as $$ begin
			perform pg_advisory_xact_lock(7); return new; end $$`,
		`create trigger hang before update on posthorn_message for each row when (old.id = '` + want[700] + `'
			and old.state = 0) execute function hang()`,
	} {
		_, err := s.DB().ExecContext(t.Context(), stmt)
		try(t, err)
	}
	lock, err := s.DB().Conn(t.Context())
	try(t, err)
	t.Cleanup(func() { _ = lock.Close() })
	_, err = lock.ExecContext(t.Context(), `select pg_advisory_lock(7)`)
	try(t, err)
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: lease, Worker: "w"})
	try(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = upTo(t, c, 500)
	try(t, err)
	return &heldClaim{t, s, lock, c}
}

// release lets it go on when the other one has been done for a while; before is called then.
func (h *heldClaim) release(before func()) {
	h.Helper()
	deadline := time.Now().Add(patience)
	for n := 0; n < 1000; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Error("the other claim does not end")
			break
		}
		row := h.lock.QueryRowContext(h.Context(), `select count(*) from posthorn_message where state = 2`)
		if err := row.Scan(&n); err != nil {
			h.Error(err)
			break
		}
	}
	time.Sleep(400 * time.Millisecond)
	before()
	if _, err := h.lock.ExecContext(h.Context(), `select pg_advisory_unlock(7)`); err != nil {
		h.Error(err)
	}
}

// What was claimed while another claim took long has its leases renewed before it is delivered:
// who gets it counts from then on.
func TestAClaimThatWaitedForAnotherIsRenewed(t *testing.T) {
	t.Parallel()
	const lease = 5 * time.Second
	h := hang(t, lease)
	var releasing sync.WaitGroup
	defer releasing.Wait()
	releasing.Go(func() { h.release(func() {}) })
	var got []driver.Delivery
	for len(got) < 1000 {
		ds, err := upTo(t, h.c, 1000)
		try(t, err)
		if len(ds) != 500 {
			t.Fatalf("received %d at once, want what one of the claims got", len(ds))
		}
		got = append(got, ds...)
	}
	for claim, ds := range map[string][]driver.Delivery{"slow": got[:500], "other": got[500:]} {
		var renewed int
		try(t, h.store.DB().QueryRowContext(t.Context(), `select count(*) from posthorn_message
			where token = $1 and wake_at > claimed_at + $2`, claimOf(ds[0]), lease.Milliseconds()).Scan(&renewed))
		if want := map[string]int{"slow": 0, "other": 500}[claim]; renewed != want {
			t.Errorf("%d of the %s claim were renewed, want %d", renewed, claim, want)
		}
	}
}

// Who is asked to end while a claim takes long gets what the other one took, too, to give it
// back: there may be no next call.
func TestNothingIsKeptForWhoIsAskedToEnd(t *testing.T) {
	t.Parallel()
	h := hang(t, 5*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var releasing sync.WaitGroup
	defer releasing.Wait()
	releasing.Go(func() { h.release(cancel) })
	if ds, err := h.c.Receive(ctx, 1000); err != nil || len(ds) != 1000 {
		t.Errorf("received %d, %v; want what both claims got", len(ds), err)
	}
}
