package verdict_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/worker/verdict"
)

// crashed are deliveries with so many crashes each.
func crashed(crashes ...int) (ds []driver.Delivery) {
	for _, n := range crashes {
		ds = append(ds, driver.Delivery{Crashes: n, Deliveries: n + 1})
	}
	return ds
}

// overdue makes the last delivery one that was passed over too often.
func overdue(ds []driver.Delivery) []driver.Delivery {
	ds[len(ds)-1].Deliveries += 11
	return ds
}

func TestASuspectIsBegunOnlyWithNothingElseInHand(t *testing.T) {
	t.Parallel()
	nobody := verdict.Nobody
	for name, c := range map[string]struct {
		ds       []driver.Delivery
		idle     bool
		isolated bool
		want     verdict.Sorting
	}{
		"alone": {crashed(2), true, false, verdict.Sorting{Alone: 0, Next: verdict.Single}},
		"beside what is in hand": {crashed(2), false, false,
			verdict.Sorting{Back: []int{0}, Alone: nobody, Next: verdict.Single}},
		"beside others": {crashed(0, 3), true, false, verdict.Sorting{Begin: []int{0}, Back: []int{1}, Alone: nobody}},
		"passed over too often, beside what is in hand": {overdue(crashed(0, 2)), false, false,
			verdict.Sorting{Begin: []int{0}, Back: []int{1}, Alone: nobody, Next: verdict.Emptied}},
		"passed over too often": {overdue(crashed(0, 5, 2, 2)), true, false,
			verdict.Sorting{Back: []int{0, 1, 2}, Alone: 3, Next: verdict.Single}},
		"to be buried unhandled":   {crashed(5), false, false, verdict.Sorting{Begin: []int{0}, Alone: nobody}},
		"by who runs nothing else": {overdue(crashed(3)), true, true, verdict.Sorting{Begin: []int{0}, Alone: nobody}},
	} {
		rules := verdict.Rules{MaxCrashes: 5, Isolated: c.isolated}
		if got := rules.Sort(c.ds, c.idle); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAUnitThatWasNotCommittedGoesOnByItsError(t *testing.T) {
	t.Parallel()
	boo, away := errors.New("boo"), driver.ErrUnavailable
	for name, c := range map[string]struct {
		err   error
		alive bool
		want  verdict.Course
	}{
		"its own failure":           {verdict.Own(boo), true, verdict.Finish},
		"what it calls unavailable": {verdict.Own(away), true, verdict.Finish},
		"the store is away":         {away, true, verdict.Wait},
		"and so is its context":     {away, false, verdict.Finish},
		"nobody knows":              {fmt.Errorf("%w: %w", away, driver.ErrOutcomeUnknown), true, verdict.LetGo},
		"it still runs":             {&driver.StuckError{}, true, verdict.Strand},
		"what it has queued":        {&driver.QueuedError{Err: away}, true, verdict.Finish},
	} {
		if got, _ := verdict.Uncommitted(c.err, c.alive); got != c.want {
			t.Errorf("%s: course %d, want %d", name, got, c.want)
		}
	}
	if _, err := verdict.Uncommitted(verdict.Own(boo), true); err != boo { //nolint:errorlint // it is that very one
		t.Errorf("a handler's own error is %v", err)
	}
}

func TestSettlementsThatFailHoldUpNobody(t *testing.T) {
	t.Parallel()
	boo := errors.New("boo")
	for name, c := range map[string]struct {
		err  error
		away bool
		n    int
		want verdict.Return
	}{
		"done":            {nil, false, 3, verdict.Release},
		"away":            {boo, true, 3, verdict.Again},
		"refused":         {boo, false, 3, verdict.Singly},
		"refused, single": {boo, false, 1, verdict.Release},
	} {
		if got := verdict.Settled(c.err, c.away, c.n); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestWhatKillsTooOftenIsBuriedUnhandled(t *testing.T) {
	t.Parallel()
	rules := verdict.Rules{MaxCrashes: 5}
	d := crashed(5)[0]
	err := rules.Admit(d, true)
	out := verdict.Decide(posthorn.RetryPolicy{}, d, err, time.Time{})
	if !errors.Is(err, verdict.ErrCrashed) || out.Verdict != driver.Bury || out.Reason != driver.ReasonCrashed {
		t.Errorf("%v: %+v", err, out)
	}
	if err := rules.Admit(crashed(4)[0], false); !errors.Is(err, posthorn.ErrUnknownKind) {
		t.Errorf("without a handler: %v", err)
	}
}
