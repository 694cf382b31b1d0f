package sqlite_test

import (
	"context"
	"errors"
	"testing"

	"github.com/posthorn/posthorn/driver"
)

var errAfter = errors.New("the handler fails after it has committed")

// The guard refuses a commit by hand. Where it did not (internal/safety runs this
// test in a build without it), the order of the statements alone must make the
// settlement a part of what was committed.
func TestACommitByHandIsNeverWithoutItsSettlement(t *testing.T) {
	s, _, ds := group(t, 4)
	ends := func(ctx context.Context, tx driver.Tx) error {
		_, err := tx.ExecContext(ctx, "commit")
		return errors.Join(err, errAfter)
	}
	alone := s.Transact(t.Context(), []driver.Unit{unit(t, ds[0], ends)})
	among := s.Transact(t.Context(), []driver.Unit{unit(t, ds[1], nil), unit(t, ds[2], ends), unit(t, ds[3], nil)})
	if alone[0] == nil || among[1] == nil {
		t.Errorf("a handler that ended its transaction was called done: %v, %v", alone, among)
	}
	for _, d := range ds {
		effects := count(t, s, "select count(*) from effect where id = ?", d.ID)
		live := count(t, s, "select count(*) from posthorn_message where id = ?", d.ID)
		if effects+live != 1 {
			t.Errorf("message %s: %d effects and %d left to be handled, want one of the two", d.ID, effects, live)
		}
	}
}
