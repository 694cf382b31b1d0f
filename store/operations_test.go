package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// numbered are ids in the order of their numbers.
func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("m%04d", i))
	}
	return ids
}

// start makes an operation and takes it.
func start(t *testing.T, s *store.Store, o store.Operation) *store.Turn {
	t.Helper()
	ctx := store.Acting(t.Context(), store.Act{Actor: "ann@h"})
	o, err := s.StartOperation(ctx, o)
	try(t, err)
	return takeOver(t, s, o.ID)
}

// takeOver takes an operation that nobody advances.
func takeOver(t *testing.T, s *store.Store, id string) *store.Turn {
	t.Helper()
	ts, err := s.TakeOperations(t.Context(), "executor", time.Minute)
	try(t, err)
	for _, turn := range ts {
		if turn.ID == id {
			return &turn
		}
	}
	t.Fatalf("operation %s could not be taken", id)
	return nil
}

// advance goes on until there is nothing to do for now.
func advance(t *testing.T, s *store.Store, turn *store.Turn) store.Operation {
	t.Helper()
	for {
		a, err := s.Advance(t.Context(), turn)
		try(t, err)
		if !a.More && a.Moved == 0 && a.Found == 0 {
			return a.Operation
		}
	}
}

// end handles what is ready: those whose ids are among the bad ones die again.
func end(t *testing.T, s *store.Store, bad ...string) (handled []string) {
	t.Helper()
	stats, err := s.Stats(t.Context())
	try(t, err)
	var n int64
	for _, q := range stats {
		n += q.Ready
	}
	c := consume(t, s)
	for int64(len(handled)) < n {
		for _, d := range receive(t, c) {
			verdict := driver.Settlement{Delivery: d}
			if strings.Contains(" "+strings.Join(bad, " ")+" ", " "+d.ID+" ") {
				verdict = driver.Settlement{Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected,
					Attempt: &driver.Attempt{Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassReject, Error: "no"}}
			}
			try(t, c.Settle(t.Context(), verdict))
			handled = append(handled, d.ID)
		}
	}
	return handled
}

// tally is where an operation stands, in few words.
func tally(o store.Operation) string {
	return fmt.Sprintf("%s: %d done, %d failed, %d flying, %d gone, %d refused, %d left",
		o.State, o.Done, o.Failed, o.Flying, o.Gone, o.Refused, o.Left())
}

func TestABulkRetryGoesOnByOutcomesFromOneToTenToTheRest(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ids := numbered(30)
		deaden(t, s, ids...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry, Canary: true})
		for _, want := range []string{
			"running: 0 done, 0 failed, 1 flying, 0 gone, 0 refused, 29 left",
			"running: 1 done, 0 failed, 10 flying, 0 gone, 0 refused, 19 left",
			"running: 10 done, 1 failed, 19 flying, 0 gone, 0 refused, 0 left",
			"done: 28 done, 2 failed, 0 flying, 0 gone, 0 refused, 0 left",
		} {
			o := advance(t, s, turn)
			if got := tally(o); got != want {
				t.Fatalf("it is %s, want %s", got, want)
			}
			end(t, s, ids[5], ids[20])
		}
		got := strings.Join(acts(t, s, store.ActFilter{Message: ids[7]}), ", ")
		if !strings.Contains(got, "operation.create") {
			t.Errorf("acts on a message: %s", got)
		}
	})
}

func TestABulkRetryStopsByItselfAndCanGoOnWithCareAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ids := numbered(40)
		deaden(t, s, ids...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry})
		turn = paused(t, s, turn)
		if o := advance(t, s, turn); o.Flying != 40 {
			t.Fatal(tally(o))
		}
		end(t, s, ids[:11]...) // more than half of the first 20
		o := advance(t, s, turn)
		if got := tally(o); got != "done: 29 done, 11 failed, 0 flying, 0 gone, 0 refused, 0 left" {
			t.Errorf("nothing was left to stop, and it is %s", got)
		}
		turn = start(t, s, store.Operation{Action: store.ActionRetry, Canary: true})
		advance(t, s, turn)
		end(t, s, ids...)
		if o = advance(t, s, turn); o.State != store.OperationStopped || !strings.Contains(o.Why, "1 of 1 canaries") {
			t.Errorf("it is %s, %s", tally(o), o.Why)
		}
		_, err := s.ResumeOperation(t.Context(), o.ID)
		try(t, err)
		if o = advance(t, s, turn); tally(o) != "running: 0 done, 1 failed, 1 flying, 0 gone, 0 refused, 9 left" {
			t.Errorf("after it was resumed it is %s", tally(o))
		}
	})
}

// paused pauses and resumes an operation while its letters are written down.
func paused(t *testing.T, s *store.Store, turn *store.Turn) *store.Turn {
	t.Helper()
	for range 2 {
		o, err := s.PauseOperation(t.Context(), turn.ID, "wait")
		if try(t, err); o.State != store.OperationPaused || o.Why != "wait" {
			t.Errorf("it is %s", tally(o))
		}
	}
	if o := advance(t, s, turn); o.Total != 0 {
		t.Errorf("it is paused, and %s", tally(o))
	}
	for range 2 {
		o, err := s.ResumeOperation(t.Context(), turn.ID)
		if try(t, err); o.State != store.OperationFreezing || o.Why != "" {
			t.Errorf("it is %s", tally(o))
		}
	}
	return turn
}

func TestHalfOfTheLastTwentyMayFailAndNoMore(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ids := numbered(200)
		deaden(t, s, ids...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry, Rate: 105}) // 21 at a time; more where it takes long
		for _, bad := range []int{10, 12} {
			o := advance(t, s, turn)
			if o.State != store.OperationRunning || o.Flying < 21 || o.Left() == 0 {
				t.Fatal(tally(o))
			}
			last := o.Done + o.Failed + o.Flying
			end(t, s, ids[last-bad:last]...)
			time.Sleep(250 * time.Millisecond) // of the rate
			if bad == 10 {
				continue
			}
			if o = advance(t, s, turn); o.State != store.OperationStopped || !strings.Contains(o.Why, "of the last 20") {
				t.Errorf("it is %s, %s", tally(o), o.Why)
			}
		}
	})
}

func TestLettersThatDiedLaterOrChangedBeforeTheirTurnAreNotTouched(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		ls := deaden(t, s, "a", "b", "c", "d", "e")
		o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRetry, To: "q"})
		try(t, err)
		deaden(t, s, "late")
		_, err = s.RemoveLetters(t.Context(), ls[0].Seq) // before they are written down
		try(t, err)
		turn := takeOver(t, s, o.ID)
		a, err := s.Advance(t.Context(), turn)
		if try(t, err); a.Operation.Total != 4 {
			t.Errorf("it is %s", tally(a.Operation))
		}
		_, err = s.RemoveLetters(t.Context(), ls[1].Seq)
		try(t, err)
		_, err = s.RetryLetters(t.Context(), ls[2].Seq)
		try(t, err)
		try(t, s.Send(t.Context(), message("d"))) // the id is live again
		o = advance(t, s, turn)
		if got := tally(o); got != "running: 0 done, 0 failed, 1 flying, 2 gone, 1 refused, 0 left" {
			t.Errorf("it is %s", got)
		}
		if got := end(t, s, "e"); len(got) != 3 {
			t.Errorf("handled %v", got)
		}
		again, err := s.Letters(t.Context(), store.LetterFilter{IDs: []string{"e"}})
		try(t, err)
		_, err = s.RemoveLetters(t.Context(), again[0].Seq) // what died again is removed before anybody looked
		try(t, err)
		if o = advance(t, s, turn); tally(o) != "done: 0 done, 1 failed, 0 flying, 2 gone, 1 refused, 0 left" {
			t.Errorf("it is %s", tally(o))
		}
	})
}

func TestTwoLettersOfOneMessageHaveOutcomesOfTheirOwn(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, "a")
		deaden(t, s, "a")
		turn := start(t, s, store.Operation{Action: store.ActionRetry})
		if o := advance(t, s, turn); tally(o) != "running: 0 done, 0 failed, 1 flying, 0 gone, 1 refused, 0 left" {
			t.Errorf("it is %s", tally(o))
		}
		end(t, s)
		if o := advance(t, s, turn); tally(o) != "done: 1 done, 0 failed, 0 flying, 0 gone, 1 refused, 0 left" {
			t.Errorf("it is %s", tally(o))
		}
	})
}

func TestABulkRemovalCanBeRestored(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(12)...)
		for _, c := range []struct {
			action store.Action
			limit  int
			dead   int
		}{{store.ActionRemove, 7, 5}, {store.ActionRestore, 0, 12}, {store.ActionRemove, 0, 0}} {
			turn := start(t, s, store.Operation{Action: c.action, Filter: store.LetterFilter{Limit: c.limit}, Canary: true})
			o := advance(t, s, turn)
			dead, err := s.Letters(t.Context(), store.LetterFilter{})
			try(t, err)
			if o.State != store.OperationDone || o.Done != o.Total || len(dead) != c.dead || o.Canary {
				t.Errorf("%s: %d are dead, it is %s", c.action, len(dead), tally(o))
			}
		}
	})
}

func TestABulkRestoreRefusesWhatASingleOneRefuses(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for _, names := range [][]string{{"again", "free", "live", "twice"}, {"twice"}} {
			deaden(t, s, names...)
			o := advance(t, s, start(t, s, store.Operation{Action: store.ActionRemove}))
			if o.Done != len(names) {
				t.Fatalf("the removal is %s", tally(o))
			}
		}
		deaden(t, s, "again")
		try(t, s.Send(t.Context(), message("live")))
		o := advance(t, s, start(t, s, store.Operation{Action: store.ActionRestore}))
		if got := tally(o); got != "done: 2 done, 0 failed, 0 flying, 0 gone, 3 refused, 0 left" {
			t.Errorf("it is %s", got)
		}
		dead, err := s.Letters(t.Context(), store.LetterFilter{})
		try(t, err)
		var got []string
		for _, l := range dead {
			got = append(got, l.ID)
		}
		if slices.Sort(got); !slices.Equal(got, []string{"again", "free", "twice"}) {
			t.Errorf("dead are %v", got)
		}
	})
}

func TestWhoLostAnOperationChangesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(5)...)
		o, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRetry})
		try(t, err)
		ts, err := s.TakeOperations(t.Context(), "slow", time.Second)
		try(t, err)
		if none, err := s.TakeOperations(t.Context(), "other", time.Minute); len(none) != 0 || err != nil {
			t.Errorf("it was taken twice: %v, %v", none, err)
		}
		time.Sleep(1100 * time.Millisecond) // until the slow one's time is over
		turn := takeOver(t, s, o.ID)
		if _, err = s.Advance(t.Context(), &ts[0]); !errors.Is(err, store.ErrFenced) {
			t.Errorf("the slow one: %v", err)
		}
		if o = advance(t, s, turn); o.Flying != 5 || o.Holder != "executor" {
			t.Errorf("it is %s, held by %q", tally(o), o.Holder)
		}
		try(t, s.GiveBack(t.Context(), ts[0])) // has nothing to give
		try(t, s.GiveBack(t.Context(), *turn))
		if o, err = s.Operation(t.Context(), o.ID); err != nil || o.Holder != "" {
			t.Errorf("it is held by %q, %v", o.Holder, err)
		}
	})
}

// leaseOf is when the lease of the only operation ends.
func leaseOf(t *testing.T, s *store.Store) (ends int64) {
	t.Helper()
	row := s.DB().QueryRowContext(t.Context(), "select lease_until from "+s.Names.Table("operation"))
	try(t, row.Scan(&ends))
	return ends
}

func TestAStepThatFindsNothingNewWritesNothingUntilItsLeaseIsToBeRenewed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, "a", "b")
		turn := start(t, s, store.Operation{Action: store.ActionRetry})
		advance(t, s, turn)
		began := leaseOf(t, s)
		for range 3 {
			time.Sleep(2 * time.Millisecond)
			if o := advance(t, s, turn); o.Flying != 2 || o.Holder != "executor" || leaseOf(t, s) != began {
				t.Errorf("it was written, and %s is held by %q", tally(o), o.Holder)
			}
		}
		_, err := s.DB().ExecContext(t.Context(), fmt.Sprintf("update %s set lease_until = lease_until - %d",
			s.Names.Table("operation"), (21*time.Second).Milliseconds())) // of a minute
		try(t, err)
		if advance(t, s, turn); leaseOf(t, s) <= began {
			t.Errorf("its lease was not renewed")
		}
		end(t, s)
		began = leaseOf(t, s)
		time.Sleep(2 * time.Millisecond)
		if o := advance(t, s, turn); o.Done != 2 || leaseOf(t, s) <= began {
			t.Errorf("what it found was not written: %s", tally(o))
		}
	})
}

func TestACancelledOperationLeavesTheRestDeadAndKnowsWhatBecameOfTheOthers(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(5)...)
		turn := start(t, s, store.Operation{Action: store.ActionRetry, Canary: true, Rate: 2.5})
		advance(t, s, turn)
		o, err := s.CancelOperation(t.Context(), turn.ID, "wrong ones")
		if try(t, err); tally(o) != "cancelled: 0 done, 0 failed, 1 flying, 0 gone, 0 refused, 4 left" || o.Ends() {
			t.Errorf("it is %s", tally(o))
		}
		end(t, s)
		o = advance(t, s, turn)
		if tally(o) != "cancelled: 1 done, 0 failed, 0 flying, 0 gone, 0 refused, 4 left" || !o.Ends() {
			t.Errorf("it is %s", tally(o))
		}
		if _, err = s.ResumeOperation(t.Context(), o.ID); !errors.Is(err, store.ErrOperationState) {
			t.Errorf("it was resumed: %v", err)
		}
		if _, err = s.PauseOperation(t.Context(), "op-none", ""); !errors.Is(err, store.ErrNoOperation) {
			t.Errorf("what is not there was paused: %v", err)
		}
		if left, err := s.Letters(t.Context(), store.LetterFilter{}); err != nil || len(left) != 4 {
			t.Errorf("%d letters are left, %v", len(left), err)
		}
		if got := strings.Join(acts(t, s, store.ActFilter{Verb: "operation"}), ", "); got !=
			"operation.cancel  "+o.ID+" 1, operation.create ann@h "+o.ID+" 1" {
			t.Errorf("acts: %s", got)
		}
	})
}

func TestOperationsThatWereOverForLongArePurgedWithTheirLetters(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		deaden(t, s, numbered(3)...)
		turn := start(t, s, store.Operation{Action: store.ActionRemove})
		advance(t, s, turn)
		open, err := s.StartOperation(t.Context(), store.Operation{Action: store.ActionRemove})
		try(t, err)
		for want := 2; want > 0; want-- {
			try(t, s.Maintain(t.Context(), time.Hour))
			os, err := s.Operations(t.Context(), store.OperationFilter{})
			if try(t, err); len(os) != want || os[0].ID != open.ID {
				t.Errorf("%d operations are left, want %d", len(os), want)
			}
			_, err = s.DB().ExecContext(t.Context(), fmt.Sprintf("update %s set ended_at = ended_at - %d where ended_at > 0",
				s.Names.Table("operation"), store.OperationsFor.Milliseconds()+1000))
			try(t, err)
		}
		var left int
		row := s.DB().QueryRowContext(t.Context(), "select count(*) from "+s.Names.Table("target"))
		if err := row.Scan(&left); err != nil || left != 0 {
			t.Errorf("%d letters are written down still, %v", left, err)
		}
	})
}

func TestAnOperationThatMakesNoSenseIsRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, s *store.Store) {
		for _, o := range []store.Operation{
			{}, {Action: "eat"}, {Action: store.ActionRetry, Rate: -1}, {Action: store.ActionRemove, To: "q"},
			{Action: store.ActionRetry, To: "no queue\n"},
		} {
			if _, err := s.StartOperation(t.Context(), o); !errors.Is(err, driver.ErrInvalid) {
				t.Errorf("%+v: %v", o, err)
			}
		}
	})
}
