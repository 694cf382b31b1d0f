package store

import (
	"context"
	"errors"
	"fmt"

	"math"
	"slices"
	"time"

	"github.com/posthorn/posthorn/driver"
)

const (
	// offerRoom is how many messages an offer takes at most.
	offerRoom = 32
	// offerFor is how long an offer stands. Who dies meanwhile is given messages until then.
	offerFor = 500 * time.Millisecond
	// offerAfter is how long after the last message an offer is made still.
	offerAfter = time.Second
	// offerRest is how long no offer is made at least after one that brought nothing; it doubles each time, up
	// to offerRestMost.
	offerRest     = time.Second
	offerRestMost = 10 * time.Second
	// leastLease is the shortest lease that a consumer has who makes offers: what it is given may wait for a pause
	// after an error.
	leastLease = 2 * time.Second
	// offersKept is how long the row of a consumer is kept that has not removed it.
	offersKept = time.Hour
	// lookPast is how often a consumer that must look by itself looks for anything else while an offer stands.
	lookPast = 2 * time.Millisecond
)

// A standing is the key of an offer, which is made once, and not changed but by who gives. Databases that keep what
// was changed look at what is younger than it only, since its end is the first part of its key after the queue.
type standing struct {
	queue string
	until int64  // when it ends, by the store's clock
	id    string // the tokens of what it brings begin so
}

// args are the arguments of the statements for one offer.
func (s standing) args() []any { return []any{s.queue, s.until, s.id} }

// An offer is what a consumer offers to take.
type offer struct {
	able  bool                // somebody knows how to end it: Withdraw was called
	rows  []standing          // there may be two after a commit of which nobody knows the outcome
	room  int                 // of the last one
	until time.Time           // the end of the last one, by the host's clock
	seen  map[string]struct{} // what they have brought, by the claims: sequences may be given again
	kept  []gift              // of that, what was not delivered
	last  string              // the queue of the last message that was delivered
	other bool                // the next try is for what was not given
	asked bool                // the last one was for what was given
	empty time.Duration       // no offer is made for so long, since the last ones brought nothing
	rests time.Time           // until then
	fails time.Time           // when it could not be ended last
}

// A gift is a message that was given.
type gift struct {
	driver.Delivery
	claim string
	fresh time.Time // until then its lease is as good as new
}

// newOffer is nil where the consumer makes no offers.
func (s *Store) newOffer(sub driver.Subscription) *offer {
	if !sub.Standing || sub.Suspects || sub.Lease < leastLease || s.SQL.Offered == "" {
		return nil
	}
	return &offer{seen: map[string]struct{}{}}
}

// stands reports whether something may be given that nobody has seen.
func (o *offer) stands() bool { return o != nil && len(o.rows) > 0 && len(o.seen) < o.room }

// has reports whether something was given, or may have been, that nobody has looked for.
func (o *offer) has() bool { return o != nil && (len(o.kept) > 0 || o.stands() && !o.asked) }

// queue is the one that messages are taken of; empty: none is.
func (o *offer) queue() string {
	if len(o.rows) == 0 {
		return ""
	}
	return o.rows[len(o.rows)-1].queue
}

// received notes what was delivered.
func (o *offer) received(ds []driver.Delivery) {
	if o != nil {
		o.last = ds[len(ds)-1].Queue
	}
}

// given are messages that the consumer was given. It alternates with what it must claim, so that neither waits
// for the other.
func (c *consumer) given(ctx context.Context, limit int) ([]driver.Delivery, error) {
	o := c.offer
	if o == nil {
		return nil, nil
	}
	o.asked = !o.other
	if len(o.kept) == 0 && o.stands() && !o.other {
		var found []gift
		err := c.store.Engine.Read(ctx, func(ctx context.Context, q Session) (err error) {
			found, err = c.gifts(ctx, q)
			return err
		})
		if c.store.forbids(err) {
			o.rows, o.rests = nil, time.Now().Add(offerRestMost)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		o.keep(found)
		c.outlive(ctx)
	}
	ds := c.deliver(limit)
	o.other = len(ds) > 0 && len(o.kept) == 0
	return ds, nil
}

// outlive ends an offer that is long over: who always finds something never waits, and need not ask for what it is
// given.
func (c *consumer) outlive(ctx context.Context) {
	o := c.offer
	if now := time.Now(); now.After(o.until.Add(c.store.offerFor)) && now.Sub(o.fails) > offerRest {
		_ = c.replace(ctx, "", 0) // it is tried again
	}
}

// untilOffer is how long to wait at most, until the offer is over.
func (c *consumer) untilOffer(next time.Duration) time.Duration {
	if o := c.offer; o.stands() && time.Since(o.fails) > offerRest {
		return max(min(next, time.Until(o.until.Add(-c.store.offerFor/4))), 0)
	}
	return next
}

// gifts reads what was given and not seen before.
func (c *consumer) gifts(ctx context.Context, q Session) (found []gift, err error) {
	rows, seen := newClaimed(""), map[string]struct{}{}
	var (
		wake, now int64
		began     time.Time
	)
	rows.dest = append(rows.dest, &rows.token, &wake, &now)
	for _, at := range c.offer.rows {
		began = time.Now()
		err := q.Query(ctx, c.store.SQL.Offered, at.args(), func(r Row) error {
			d, err := rows.read(r)
			_, known := c.offer.seen[rows.token]
			if _, twice := seen[rows.token]; known || twice || err != nil {
				return err
			}
			seen[rows.token] = struct{}{}
			left := time.Duration(wake-now)*time.Millisecond - c.sub.Lease + c.sub.Lease/leaseShare
			found = append(found, gift{d, rows.token, began.Add(left)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// keep keeps what was given until it is delivered.
func (o *offer) keep(found []gift) {
	for _, g := range found {
		o.seen[g.claim] = struct{}{}
	}
	if len(found) > 0 {
		o.empty = 0
	}
	o.kept = append(o.kept, found...)
	slices.SortStableFunc(o.kept, func(a, b gift) int { return inTurn(&a.Delivery, &b.Delivery) })
}

// deliver takes some of what was given. What was read long ago is renewed before, since who gets it counts its
// lease from then on.
func (c *consumer) deliver(limit int) (ds []driver.Delivery) {
	o, now := c.offer, time.Now()
	for len(ds) < limit && len(o.kept) > 0 {
		g := o.kept[0]
		if o.kept = o.kept[1:]; now.Before(g.fresh) {
			ds = append(ds, g.Delivery)
		} else {
			c.unsure = append(c.unsure, g.Delivery)
		}
	}
	return ds
}

// rest makes offers rarer where nobody gives anything.
func (o *offer) rest(now time.Time) {
	o.empty = min(max(offerRest, 2*o.empty), offerRestMost)
	o.rests = now.Add(o.empty)
}

// wanted is the queue of which the consumer wants to be given messages: that of the last one, while they
// come often.
func (c *consumer) wanted(now time.Time) string {
	o := c.offer
	if !o.able || !slices.Contains(c.open, o.last) || now.Sub(c.found) > c.store.offerAfter || now.Before(o.rests) {
		return ""
	}
	return o.last
}

// offerMore makes an offer, or another one where little is left of it, or ends one that is over, before the
// consumer waits. What comes of an error is that nothing is given.
func (c *consumer) offerMore(ctx context.Context, limit int) {
	o := c.offer
	if o == nil {
		return
	}
	now := time.Now()
	over := len(o.rows) > 0 && !now.Before(o.until.Add(-c.store.offerFor/4))
	if now.Sub(o.fails) < offerRest {
		return
	}
	if over && len(o.seen) == 0 {
		o.rest(now)
	}
	queue, left := c.wanted(now), o.room-len(o.seen)
	switch {
	case queue == o.queue() && !over && left >= (o.room+3)/4 && left <= 2*limit:
		return // there is enough of it, or none
	case queue == "" && !over && o.stands() && left <= 2*limit && slices.Contains(c.open, o.queue()):
		return // it does no harm
	}
	_ = c.replace(ctx, queue, min(limit, offerRoom))
}

// replace ends the offer, and makes another one, unless queue is empty. Whoever gives something has locked the old
// one until the message is committed, and in a transaction that it does not share (Lone): so what is found is the
// consumer's, whatever becomes of this one.
func (c *consumer) replace(ctx context.Context, queue string, room int) error {
	o, until := c.offer, time.Now().Add(c.store.offerFor)
	var (
		found []gift
		next  standing
	)
	err := c.store.Engine.Write(ctx, &Write{Quiet: true, Func: func(ctx context.Context, q Session) (err error) {
		next = standing{}
		if found, err = c.endOffers(ctx, q); err != nil || queue == "" {
			return err
		}
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		next = standing{queue, now + c.store.offerFor.Milliseconds(), rand128()[:handLen]}
		_, err = q.Exec(ctx, c.store.SQL.OfferIn, append(next.args(), c.sub.Worker, c.sub.Lease.Milliseconds(), room)...)
		return err
	}})
	switch {
	case err == nil:
		o.keep(found)
		clear(o.seen)
		o.rows, o.room, o.until = o.rows[:0], 0, until
		if next.id != "" {
			o.rows, o.room = append(o.rows, next), room
		}
	case errors.Is(err, driver.ErrOutcomeUnknown):
		o.keep(found) // the way to find it may be gone; the old offers may stand as well as the next
		o.room, o.until = math.MaxInt32, until
		if next.id != "" {
			o.rows = append(o.rows, next)
		}
	}
	if err != nil {
		o.fails = time.Now()
	}
	return c.store.explain("offer to take messages", err)
}

// endOffers ends what stands in its transaction, and reads what it has brought.
func (c *consumer) endOffers(ctx context.Context, q Session) (found []gift, err error) {
	sql := c.store.SQL
	for _, at := range c.offer.rows {
		if _, err := q.Exec(ctx, sql.OfferEnd, at.args()...); err != nil {
			return nil, err
		}
	}
	if found, err = c.gifts(ctx, q); err != nil {
		return nil, err
	}
	for _, at := range c.offer.rows {
		if _, err := q.Exec(ctx, sql.OfferDrop, at.args()...); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Withdraw ends what the consumer offers, and returns what it holds that was not received.
func (c *consumer) Withdraw(ctx context.Context) (ds []driver.Delivery, err error) {
	done, err := c.begin()
	if err != nil {
		return nil, fmt.Errorf("withdraw: %w", err)
	}
	defer done()
	o := c.offer
	if o == nil {
		return nil, nil
	}
	o.able = true
	if o.stands() {
		err = c.replace(ctx, "", 0)
	}
	for _, g := range o.kept {
		ds = append(ds, g.Delivery)
	}
	ds = append(ds, c.unsure...)
	o.kept, c.unsure = nil, nil
	return ds, err
}

var _ driver.Withdrawer = (*consumer)(nil)
