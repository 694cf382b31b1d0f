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

// shares divide what is to be claimed among claims beside each other. What each would walk over
// before it finds something is walked over by one.
func (c *consumer) shares(limit int, walks bool) []int {
	n := 1
	if c.full && !walks {
		n = max(min(c.store.Abreast, limit/leastAbreast), 1)
	}
	out := make([]int, n)
	for i := range out {
		out[i] = min((limit+i)/n, maxClaim)
	}
	return out
}

// A taking is one claim of a queue.
type taking struct {
	Take
	ds   []driver.Delivery
	err  error
	done time.Time
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

// claimQueue takes deliveries from one queue, where there is much to take by claims beside each
// other, which pass over what another one has locked. What they took together is what one
// of them would have taken, as long as none fails. Where one does, it returns what the others took,
// and the error: what stood before that is found by the next claim, which begins where this one did.
// It returns how many it has asked for, too.
func (c *consumer) claimQueue(
	ctx context.Context, queue string, limit int,
) (ds []driver.Delivery, asked int, err error) {
	var (
		from  approach
		walks bool
	)
	m := c.marks[queue]
	if m != nil {
		if from, err = c.approach(ctx, queue); err != nil {
			return nil, 0, err
		}
		walks = from.whole() && m.dear(c.store.opts.Poll, c.store.wholeShare)
	}
	var takings []*taking
	shares := c.shares(limit, walks)
	for _, share := range shares {
		t := c.taking(queue, share, from.marks)
		t.Beside = len(shares) > 1
		takings, asked = append(takings, t), asked+share
	}
	began := time.Now()
	c.run(ctx, takings)
	ds, err = c.taken(ctx, takings)
	if m == nil || err != nil {
		return ds, asked, err
	}
	if from.whole() && c.store.ReadySince == nil { // else a look tells, without a commit
		m.cost = time.Since(began)
	}
	m.note(ds, asked, from)
	return ds, asked, nil
}

// run runs claims beside each other.
func (c *consumer) run(ctx context.Context, takings []*taking) {
	var wg sync.WaitGroup
	for _, t := range takings[1:] {
		wg.Go(func() { c.take(ctx, t) })
	}
	c.take(ctx, takings[0])
	wg.Wait()
}

func (c *consumer) take(ctx context.Context, t *taking) {
	t.err = c.store.Engine.Write(ctx, &Write{Take: &t.Take})
	t.done = time.Now()
}

// errKept: the leases of a claim ran while another one was waited for.
var errKept = errors.New("another claim took too long")

// leaseShare is the part of a lease that may be over when its message is delivered.
const leaseShare = 16

// taken are the deliveries of claims, in their order. Those of whose commit nobody knows the
// outcome are kept for later, and so are those that have waited for another claim, since who gets
// them counts their leases from then on: they are renewed before. Who has been asked to end may
// not call again, and gives them back.
func (c *consumer) taken(ctx context.Context, takings []*taking) (ds []driver.Delivery, err error) {
	for _, t := range takings {
		if t.err == nil && ctx.Err() == nil && time.Since(t.done) > c.sub.Lease/leaseShare && len(takings) > 1 {
			t.err = errKept
		}
		if errors.Is(t.err, driver.ErrOutcomeUnknown) || errors.Is(t.err, errKept) {
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
