package failure

import (
	"context"
	"errors"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
)

// AtOnce is how many dead letters are changed at once. What is more is an operation's work.
const AtOnce = 100

// Many reports whether n letters are changed by an operation and not at once.
func Many(n int) bool { return n > AtOnce }

// Canary reports whether an operation about n letters begins with canaries: as its maker
// wants or, if nothing is said, where there are many.
func Canary(want *bool, n int) bool {
	if want != nil {
		return *want
	}
	return Many(n)
}

// A Change changes dead letters by their numbers, all or none, such as
// [store.Store.RetryLetters]. It returns how many it has changed, and driver.ErrDuplicate
// if the id of one is taken.
type Change func(ctx context.Context, seqs ...int64) (int, error)

// Changed is what became of letters that were to be changed.
type Changed struct {
	Done int
	// Each is how many each transaction has changed, of those that have changed any: so many
	// acts are in the audit.
	Each    []int
	Clashed []int64 // their ids are taken: see Taker
	// Gone were no such letters any more. They are known where each was tried alone; where
	// all went together it is only known how many they are, which are neither Done nor
	// Clashed.
	Gone []int64
}

// did notes that a transaction has changed so many.
func (c *Changed) did(n int) {
	if n > 0 {
		c.Done, c.Each = c.Done+n, append(c.Each, n)
	}
}

// Apply changes letters together, or each alone when the id of one of them is taken: so
// one that is in the way of nobody else keeps nobody else back. After an error, Changed is
// what was done before.
func (do Change) Apply(ctx context.Context, seqs ...int64) (c Changed, err error) {
	n, err := do(ctx, seqs...)
	if !errors.Is(err, driver.ErrDuplicate) {
		c.did(n)
		return c, err
	}
	for _, seq := range seqs {
		n, err := do(ctx, seq)
		switch {
		case errors.Is(err, driver.ErrDuplicate):
			c.Clashed = append(c.Clashed, seq)
		case err != nil:
			return c, err
		case n == 0:
			c.Gone = append(c.Gone, seq)
		}
		c.did(n)
	}
	return c, nil
}

// Taker says who has the id of a letter for which an action is refused.
func Taker(a store.Action) string {
	if a == store.ActionRestore {
		return "a live message or another dead letter"
	}
	return "a live message"
}
