package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// What waits is what is ready for so long, by the store's clock, in the queues that were
// asked for, but for what operations put back: they would give way to themselves.
func TestWhatWaitsIsWhatNobodyPutBack(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		waits := func(longer time.Duration) string {
			t.Helper()
			queue, err := s.Waits(t.Context(), []string{"none", "q"}, longer)
			try(t, err)
			return queue
		}
		deaden(t, s, numbered(12)...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry})
		if o := advance(t, s, turn); o.Flying != 12 || waits(0) != "" {
			t.Fatalf("it is %s, and %q waits", tally(o), waits(0))
		}
		late := message("late")
		late.NotBefore = time.Now().Add(time.Hour)
		try(t, s.Send(t.Context(), late))
		if got := waits(0); got != "" {
			t.Errorf("%q waits, and its message is not due", got)
		}
		try(t, s.Send(t.Context(), message("other")))
		if got := waits(0); got != "q" {
			t.Errorf("%q waits", got)
		}
		if got := waits(time.Hour); got != "" {
			t.Errorf("%q has waited for an hour", got)
		}
		if n := len(end(t, s)); n != 13 || waits(0) != "" {
			t.Errorf("%d were handled, and %q waits", n, waits(0))
		}
		if o := advance(t, s, turn); o.Done != 12 {
			t.Errorf("it is %s", tally(o))
		}
	})
}

// It is asked often, and ends at the first message that waits: it looks through neither the
// messages nor what operations have put back.
func TestLookingForWhatWaitsWalksTheReadyMessages(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for part := range slices.Chunk(numbered(4000), 500) {
			var es []driver.Envelope
			for _, id := range part {
				es = append(es, message(id))
			}
			try(t, s.Send(t.Context(), es...))
		}
		stmts := []string{`insert into posthorn_target (operation, letter, message_id, state, since)
			select 1, seq, id, seq % 3, 0 from posthorn_message`}
		switch s.Dialect() {
		case "mysql":
			stmts = append(stmts, "analyze table posthorn_message", "analyze table posthorn_target")
		case "postgres":
			stmts = append(stmts, "vacuum analyze posthorn_message", "vacuum analyze posthorn_target")
		}
		for _, stmt := range stmts {
			_, err := s.DB().ExecContext(t.Context(), stmt)
			try(t, err)
		}
		plan := planOf(t, s, strings.NewReplacer("queue = ?", "queue = 'q'", "?", "9999999999999").Replace(s.SQL.Waiting))
		for _, index := range []string{wayOf(s), "posthorn_target_message"} {
			if !strings.Contains(plan, index) {
				t.Errorf("it does not use %s:\n%s", index, plan)
			}
		}
		for _, slow := range []string{"filesort", "Seq Scan", "Sort", "TEMP B-TREE"} {
			if strings.Contains(plan, slow) {
				t.Errorf("it has a %s:\n%s", slow, plan)
			}
		}
	})
}

func TestServedQueuesAreThoseOfLivingWorkersThatAreNotPaused(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for id, queues := range map[string][]string{"a": {"q", "r"}, "b": {"r", "paused"}} {
			_, err := s.Heartbeat(t.Context(), driver.WorkerRecord{ID: id, Queues: queues, Started: time.Now()})
			try(t, err)
		}
		pause(t, s, store.Pause{Queue: "paused"})
		served, err := s.Served(t.Context())
		if try(t, err); !slices.Equal(served, []string{"q", "r"}) {
			t.Errorf("served are %q", served)
		}
		try(t, s.Deregister(t.Context(), "a"))
		served, err = s.Served(t.Context())
		if try(t, err); !slices.Equal(served, []string{"r"}) {
			t.Errorf("served are %q", served)
		}
	})
}

// A step that rests lets no letter have its turn; it looks at those in flight, and says how
// many of them are in the hands of workers.
func TestAStepThatRestsOnlyLooks(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(30)...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry, Canary: true})
		turn.Rest, turn.Yields = true, "busy"
		if o := advance(t, s, turn); o.Total != 0 || o.Yields != "busy" {
			t.Fatalf("it is %s, and gives way to %q", tally(o), o.Yields)
		}
		turn.Rest = false
		advance(t, s, turn)
		turn.Rest = true
		c := consume(t, s)
		held := receive(t, c)
		a, err := s.Advance(t.Context(), turn)
		if try(t, err); a.InHand != 1 || a.Moved != 0 {
			t.Errorf("it has found %+v", a)
		}
		try(t, c.Settle(t.Context(), driver.Settlement{Delivery: held[0]}))
		if o := advance(t, s, turn); tally(o) != "running: 1 done, 0 failed, 0 flying, 0 gone, 0 refused, 29 left" {
			t.Errorf("it is %s", tally(o))
		}
		turn.Rest, turn.Yields = false, ""
		if o := advance(t, s, turn); o.Flying != 10 || o.Yields != "" {
			t.Errorf("it is %s, and gives way to %q", tally(o), o.Yields)
		}
	})
}

// wayOf is the index in which claims walk.
func wayOf(s *store.Store) string {
	if s.Dialect() == "mysql" {
		return "posthorn_message_turn"
	}
	return "posthorn_message_ready"
}
