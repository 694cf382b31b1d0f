package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// An ackTest has claims of different sizes, of which some are lost.
type ackTest struct {
	claims []int            // how many messages each has
	lost   func(i int) bool // of all of them, in order
	twice  int              // this delivery is acknowledged a second time; -1: none is
}

// However many are acknowledged under however many tokens: what was lost is named, no more
// and no less, and all else is gone.
func TestWhichAcknowledgementsAreLost(t *testing.T) {
	t.Parallel()
	none := func(int) bool { return false }
	tests := map[string]ackTest{
		"none of one claim":              {claims: []int{100}, lost: none, twice: -1},
		"some of one claim":              {claims: []int{100}, lost: func(i int) bool { return i%7 == 0 }, twice: -1},
		"all of one claim":               {claims: []int{100}, lost: func(int) bool { return true }, twice: -1},
		"all of one claim of two":        {claims: []int{100, 50}, lost: func(i int) bool { return i < 100 }, twice: -1},
		"none of two claims":             {claims: []int{90, 80}, lost: none, twice: -1},
		"one that is named twice":        {claims: []int{100}, lost: none, twice: 13},
		"a lost one that is named twice": {claims: []int{100}, lost: func(i int) bool { return i == 13 }, twice: 13},
		"some of many small claims": {
			claims: slices.Repeat([]int{2}, 40), lost: func(i int) bool { return i%3 == 0 }, twice: -1,
		},
		"some of a large and small ones": {claims: []int{70, 1, 1, 2}, lost: func(i int) bool { return i > 68 }, twice: -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.run(t)
		})
	}
}

func (tt ackTest) run(t *testing.T) {
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	c, ds := claimSome(t, s, tt.claims)
	var (
		settlements []driver.Settlement
		want        []string
		stolen      int
	)
	for i, d := range ds {
		settlements = append(settlements, driver.Settlement{Delivery: d})
		if tt.lost(i) {
			want, stolen = append(want, d.ID), stolen+1
			steal(t, s, d.ID)
		}
		if i == tt.twice {
			settlements = append(settlements, driver.Settlement{Delivery: d})
			want = append(want, d.ID)
		}
	}
	err := c.Settle(t.Context(), settlements...)
	var (
		lost *driver.LeaseLostError
		got  []string
	)
	if errors.As(err, &lost) {
		for _, d := range lost.Lost {
			got = append(got, d.ID)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("lost are %v, want %v", got, want)
	}
	var left int
	if err := s.DB().QueryRowContext(t.Context(), "select count(*) from posthorn_message").Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != stolen {
		t.Errorf("%d messages are left, want %d", left, stolen)
	}
}

// steal makes a message somebody else's.
func steal(t *testing.T, s *store.Store, id string) {
	t.Helper()
	_, err := s.DB().ExecContext(t.Context(), "update posthorn_message set token = 'somebody else' where id = $1", id)
	if err != nil {
		t.Fatal(err)
	}
}

// claimSome sends messages, and claims them in lots of these sizes.
func claimSome(t *testing.T, s *store.Store, sizes []int) (c driver.Consumer, out []driver.Delivery) {
	t.Helper()
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Lease: time.Minute, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for i, n := range sizes {
		envs := make([]driver.Envelope, n)
		for j := range envs {
			envs[j] = driver.Envelope{ID: fmt.Sprintf("m-%d-%d", i, j), Kind: "k", Queue: "q", Body: []byte("x")}
		}
		if err := s.Send(t.Context(), envs...); err != nil {
			t.Fatal(err)
		}
		ds, err := c.Receive(t.Context(), n)
		if err != nil || len(ds) != n {
			t.Fatalf("received %d of %d, %v", len(ds), n, err)
		}
		out = append(out, ds...)
	}
	return c, out
}
