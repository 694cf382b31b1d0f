package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// maxClaim bounds one claim, so that a transaction stays short.
const maxClaim = 500

// leastAbreast is the least that claims beside each other are worth: what each costs by
// itself is shared by fewer messages.
const leastAbreast = 250

// leastTook is for how many deliveries there is room in a claim from the start.
const leastTook = 64

// most bounds what is received at once: where the last call found all that it asked for, there
// may be several claims.
func (c *consumer) most() int {
	if c.full {
		return maxClaim * max(c.store.Abreast, 1)
	}
	return maxClaim
}

// shares divide what is to be claimed among claims beside each other.
func (c *consumer) shares(limit int) []int {
	n := 1
	if c.full {
		n = max(min(c.store.Abreast, limit/leastAbreast), 1)
	}
	out := make([]int, n)
	for i := range out {
		out[i] = (limit + i) / n
	}
	return out
}

// A taking is one claim of a queue.
type taking struct {
	Take
	ds  []driver.Delivery
	err error
}

// taking prepares a claim.
func (c *consumer) taking(queue string, limit int, at []Mark) *taking {
	t := &taking{Take: Take{
		Token: rand128(), Worker: c.sub.Worker, Lease: c.sub.Lease.Milliseconds(), Queue: queue, Limit: limit,
		Suspects: c.sub.Suspects, Marks: at,
	}}
	rows, room := newClaimed(t.Token), min(limit, max(c.took, leastTook))
	t.Begin = func() { t.ds = make([]driver.Delivery, 0, room) }
	t.Row = func(r Row) error {
		d, err := rows.read(r)
		t.ds = append(t.ds, d)
		return err
	}
	return t
}

// claimQueue takes deliveries from one queue: where the server has processors for it, by
// claims beside each other, which pass over what another one has locked. What they took
// together is what one of them would have taken, as long as none fails.
func (c *consumer) claimQueue(ctx context.Context, queue string, limit int) ([]driver.Delivery, error) {
	var from approach
	m := c.marks[queue]
	if m != nil {
		var err error
		if from, err = c.approach(ctx, queue); err != nil {
			return nil, err
		}
	}
	var takings []*taking
	for _, share := range c.shares(limit) {
		takings = append(takings, c.taking(queue, share, from.marks))
	}
	began := time.Now()
	c.run(ctx, takings)
	ds, err := c.taken(takings)
	if m == nil || err != nil {
		return ds, unless(ds, err)
	}
	if from.whole() && c.store.ReadySince == nil { // else a look tells, without a commit
		m.cost = time.Since(began)
	}
	m.note(ds, limit, from)
	return ds, nil
}

// unless is an error that is of no importance where there are deliveries: the next call
// meets it, if it stays. What the claim that failed may have passed over, or locked, stands
// where the marks were before.
func unless(ds []driver.Delivery, err error) error {
	if len(ds) > 0 {
		return nil
	}
	return err
}

// run runs claims beside each other.
func (c *consumer) run(ctx context.Context, takings []*taking) {
	var wg sync.WaitGroup
	for _, t := range takings[1:] {
		wg.Go(func() { t.err = c.store.Engine.Write(ctx, &Write{Take: &t.Take}) })
	}
	first := takings[0]
	first.err = c.store.Engine.Write(ctx, &Write{Take: &first.Take})
	wg.Wait()
}

// taken are the deliveries of claims, in their order. Those of whose commit nobody knows the
// outcome are kept for later.
func (c *consumer) taken(takings []*taking) (ds []driver.Delivery, err error) {
	for _, t := range takings {
		if errors.Is(t.err, driver.ErrOutcomeUnknown) {
			c.unsure = append(c.unsure, t.ds...)
		}
		if t.err != nil {
			err = t.err
			continue
		}
		if ds == nil {
			ds = t.ds
			continue
		}
		ds = append(ds, t.ds...)
	}
	c.took = len(ds) / len(takings)
	sortClaim(ds)
	return ds, err
}
