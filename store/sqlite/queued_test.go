package sqlite_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// forever is a statement that only the end of its context ends.
const forever = `insert into effect with recursive c(i) as (select 1 union all select i + 1 from c)
	select max(i) from c`

// A statement that was queued runs when its handler has returned, so that nobody else
// can say why it was cut off: whether that costs an attempt is decided by the cause.
func TestAQueuedStatementThatIsCutOffSaysWhy(t *testing.T) {
	for _, cause := range []error{driver.ErrShutdown, driver.ErrLeaseLost} {
		s, _, ds := group(t, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		u := unit(t, ds[0], func(_ context.Context, tx driver.Tx) error {
			time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
			return tx.Queue(context.Background(), forever)
		})
		u.Context = ctx
		if err := s.Transact(t.Context(), []driver.Unit{u})[0]; !errors.Is(err, cause) {
			t.Errorf("the outcome is %v, want %v", err, cause)
		}
		settled(t, s, map[string]bool{"m0": false})
	}
}
