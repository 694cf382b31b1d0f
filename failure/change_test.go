package failure_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/store"
)

// What clashes or has gone keeps nobody else back, and what was done before an error is
// told.
func TestAChangeTriesEachAloneWhenOneIsInTheWay(t *testing.T) {
	const taken, gone, broken = 3, 4, 9
	down := errors.New("down")
	var change failure.Change = func(_ context.Context, seqs ...int64) (n int, err error) {
		for _, seq := range seqs {
			switch seq {
			case taken:
				return 0, driver.ErrDuplicate
			case broken:
				return 0, down
			case gone:
			default:
				n++
			}
		}
		return n, nil
	}
	for _, c := range []struct {
		seqs, clashed, gone []int64
		done                int
		each                []int
		err                 error
	}{
		{seqs: []int64{1, 2}, done: 2, each: []int{2}},
		{seqs: []int64{1, gone}, done: 1, each: []int{1}},
		{seqs: []int64{gone}},
		{seqs: []int64{1, taken, gone, 2}, done: 2, each: []int{1, 1}, clashed: []int64{taken}, gone: []int64{gone}},
		{seqs: []int64{1, taken, broken, 2}, done: 1, each: []int{1}, clashed: []int64{taken}, err: down},
		{seqs: []int64{broken, 1}, err: down},
	} {
		got, err := change.Apply(t.Context(), c.seqs...)
		if !errors.Is(err, c.err) || got.Done != c.done || !slices.Equal(got.Clashed, c.clashed) ||
			!slices.Equal(got.Gone, c.gone) || !slices.Equal(got.Each, c.each) {
			t.Errorf("%v: %+v, %v, want %+v", c.seqs, got, err, c)
		}
	}
}

func TestCanariesGoFirstWhereTheyAreWantedOrManyGo(t *testing.T) {
	for _, c := range []struct {
		want *bool
		n    int
		is   bool
	}{
		{nil, failure.AtOnce, false}, {nil, failure.AtOnce + 1, true},
		{new(true), 1, true}, {new(false), failure.AtOnce + 1, false},
	} {
		if failure.Canary(c.want, c.n) != c.is {
			t.Errorf("of %d letters, canaries go first: %t", c.n, !c.is)
		}
	}
}

func TestOnlyARestoreIsRefusedForADeadLetter(t *testing.T) {
	if a, b := failure.Taker(store.ActionRetry), failure.Taker(store.ActionRestore); a != "a live message" || a == b {
		t.Errorf("a retry is refused for %s, a restore for %s", a, b)
	}
}
