package store

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/finetimer"
	"github.com/posthorn/posthorn/internal/mutant"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/internal/share"
)

// Consume opens a consumer.
func (s *Store) Consume(_ context.Context, sub driver.Subscription) (driver.Consumer, error) {
	if err := sub.Check(); err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	ears, err := s.hub.listen()
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	sub.Queues = slices.Clone(sub.Queues)
	pace := Pace{Fast: cmp.Or(s.Fast, s.opts.Poll), Slow: s.opts.Poll}
	c := &consumer{store: s, sub: sub, ears: ears, pace: pace, found: time.Now()}
	c.turns = share.New(len(sub.Queues), sub.Weights)
	c.offer = s.newOffer(sub)
	if s.Marks && !sub.Suspects {
		c.marks = map[string]*marks{}
		for _, q := range sub.Queues {
			c.marks[q] = &marks{}
			if s.ReadySince == nil {
				c.marks[q].least = wholeEvery
			}
		}
	}
	return c, nil
}

// A consumer receives from some queues of the store.
type consumer struct {
	store   *Store
	sub     driver.Subscription
	open    []string // the queues that are not paused, in their order
	ears    *ears
	turns   *share.Schedule
	unsure  []driver.Delivery // of claims of which nobody knows yet whether they stand
	pace    Pace
	found   time.Time // when the last message was
	took    int       // how many each of its last claims got
	full    bool      // the last Receive got all that it asked for, at once
	looked  time.Time // when it last looked for what comes due
	rescues rescues
	offer   *offer            // of what it takes; nil: it makes none
	marks   map[string]*marks // by queue; nil where the database leaves nothing behind
	hinted  bool              // there is probably something
	waits   func()            // ends the expectation of a hint; nil: none is expected
	misses  int               // hints in a row that led to nothing
	heard   time.Time         // when the last hint came
	alarm   *finetimer.Timer  // of a Receive that has waited, else nil
	calls   sync.RWMutex      // Close waits for calls under way
}

// begin notes a call under way, until done is called.
func (c *consumer) begin() (done func(), err error) {
	c.calls.RLock()
	select {
	case <-c.ears.closed:
		c.calls.RUnlock()
		return nil, driver.ErrClosed
	default:
		return c.calls.RUnlock, nil
	}
}

// Receive blocks until there is a delivery.
func (c *consumer) Receive(ctx context.Context, limit int) ([]driver.Delivery, error) {
	done, err := c.begin()
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	defer done()
	defer c.rest()
	if limit < 1 || c.sub.Suspects {
		limit = 1
	}
	for {
		if err := c.ended(ctx); err != nil {
			return nil, err
		}
		asked := min(limit, c.most())
		ds, next, err := c.try(ctx, asked)
		if errors.Is(err, errKept) {
			continue // it is renewed, and delivered
		}
		if err != nil {
			return nil, c.store.explain("receive", cmp.Or(ctx.Err(), err))
		}
		if len(ds) > 0 {
			c.misses, c.found = 0, time.Now()
			c.hinted = len(ds) == asked
			c.full = c.hinted
			c.offer.received(ds)
			return ds, nil
		}
		c.full = false
		c.store.heed(ctx)
		if c.offerMore(ctx, limit); c.offer.has() || len(c.unsure) > 0 {
			continue
		}
		c.wait(ctx, c.untilOffer(next))
	}
}

func (c *consumer) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-c.ears.closed:
		return fmt.Errorf("receive: %w", driver.ErrClosed)
	default:
		return nil
	}
}

// lookEvery is how often a busy consumer looks for what has come due: it claims
// without looking, and delayed messages must not wait until it is idle.
const lookEvery = 25 * time.Millisecond

// try claims what is there. When nothing is, it says how long to wait at most.
// It looks before it claims unless there is probably something, so that an idle
// worker never takes a write lock.
func (c *consumer) try(ctx context.Context, limit int) (ds []driver.Delivery, next time.Duration, err error) {
	for len(c.unsure) > 0 {
		if ds, err = c.recall(ctx, limit); err != nil || len(ds) > 0 {
			return ds, 0, err
		}
	}
	if ds, err = c.given(ctx, limit); err != nil || len(ds) > 0 {
		return ds, 0, err
	}
	if safety.Leases && c.rescues.due(c.sub.Lease) {
		if err := c.rescue(ctx); err != nil {
			return nil, 0, err
		}
	}
	if c.open, err = c.store.unpaused(ctx, c.sub.Queues); err != nil {
		return nil, 0, err
	}
	if c.marks != nil && c.store.ReadySince == nil {
		return c.tryMarked(ctx, limit)
	}
	if c.store.Fast > 0 && c.offer.stands() && time.Since(c.looked) < lookPast {
		return nil, min(c.until(sight{}), lookPast-time.Since(c.looked)), nil
	}
	if c.hinted && len(c.open) == 1 && time.Since(c.looked) < lookEvery {
		ds, err = c.claim(ctx, c.open, limit)
		if err != nil || len(ds) > 0 {
			return ds, 0, err
		}
	}
	c.hinted = false
	c.expect()
	seen, err := c.look(ctx, c.open)
	if err != nil || len(seen.ready) == 0 {
		return nil, c.until(seen), err
	}
	ds, err = c.claim(ctx, seen.ready, limit)
	return ds, 0, err
}

// tryMarked is try for a database where a claim finds nothing more cheaply than a
// look does, since it knows where to begin.
func (c *consumer) tryMarked(ctx context.Context, limit int) (ds []driver.Delivery, next time.Duration, err error) {
	var seen sight
	if time.Since(c.looked) >= lookEvery {
		if seen, err = c.look(ctx, nil); err != nil {
			return nil, 0, err
		}
	}
	if ds, err = c.claim(ctx, c.open, limit); err != nil || len(ds) > 0 {
		return ds, 0, err
	}
	if seen.now == 0 {
		seen, err = c.look(ctx, nil)
	}
	return nil, c.until(seen), err
}

// splitToken gives back the row and the claim of a token.
func splitToken(t driver.Token) (seq int64, claim string, err error) {
	head, claim, ok := strings.Cut(string(t), ".")
	seq, err = strconv.ParseInt(head, 10, 64)
	if !ok || err != nil {
		return 0, "", fmt.Errorf("%w: token %q is not of this store", driver.ErrInvalid, string(t))
	}
	return seq, claim, nil
}

func seqOf(t driver.Token) int64 {
	seq, _, _ := splitToken(t)
	return seq
}

// rand128 is unique for each claim: 26 characters of base32, 130 bits.
func rand128() string { return crand.Text() }

// leastWait is the shortest wait.
const leastWait = 300 * time.Microsecond

// patientAfter is how many hints in a row may lead to nothing before they are
// believed more slowly: a busy neighbour on the same database must not keep an
// idle worker busy. They are in a row while no more than calm lies between two.
const (
	patientAfter = 4
	calm         = 100 * time.Millisecond
)

// onceMore is how long after a hint that led to nothing a consumer looks once more: what
// it may have been about is not always seen at once, the end of a pause of which the list is
// not read anew yet, or what stands before the marks.
const onceMore = pausesHinted + wholeEvery

// wait ends when there may be something new, at the latest after next.
func (c *consumer) wait(ctx context.Context, next time.Duration) {
	if since := time.Since(c.heard); since < onceMore {
		next = min(next, onceMore-since)
	}
	if mutant.NoPoll {
		next = time.Hour
	}
	if c.alarm == nil {
		c.alarm = finetimer.New()
	}
	c.alarm.Reset(max(next, leastWait))
	defer c.alarm.Stop()
	select {
	case <-c.ears.wake:
		c.store.pauses.hint()
		if time.Since(c.heard) > calm {
			c.misses = 0
		}
		c.misses, c.heard = c.misses+1, time.Now()
		c.beLate(ctx, min(time.Duration(c.misses-patientAfter)*time.Millisecond, 20*time.Millisecond))
	case <-c.alarm.C:
	case <-c.ears.closed:
	case <-ctx.Done():
	}
}

// expect says that a hint is expected, before the look of which the result is waited for.
func (c *consumer) expect() {
	if c.waits == nil {
		c.waits = c.store.hub.expect.begin()
	}
}

func (c *consumer) expectNothing() {
	if c.waits != nil {
		c.waits()
		c.waits = nil
	}
}

// beLate looks d later than it could, and expects no hint until then.
func (c *consumer) beLate(ctx context.Context, d time.Duration) {
	if d > 0 {
		c.expectNothing()
		sleep(ctx, d)
	}
}

// rest ends what a Receive has begun to wait: who never closes a consumer, but its
// store, has nothing left of it.
func (c *consumer) rest() {
	c.expectNothing()
	if c.alarm != nil {
		c.alarm.Close()
		c.alarm = nil
	}
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Extend renews leases.
func (c *consumer) Extend(ctx context.Context, ds ...driver.Delivery) error {
	done, err := c.begin()
	if err != nil {
		return fmt.Errorf("extend: %w", err)
	}
	defer done()
	var lost []driver.Delivery
	err = c.store.write(ctx, func(ctx context.Context, q Session) (err error) {
		lost, err = c.store.extend(ctx, q, c.sub.Lease, ds)
		return err
	})
	if err == nil && len(lost) > 0 {
		return &driver.LeaseLostError{Lost: lost}
	}
	return c.store.explain("extend", err)
}

// Close gives the consumer up, and waits for its calls.
func (c *consumer) Close() error {
	c.store.hub.leave(c.ears)
	c.calls.Lock()
	defer c.calls.Unlock()
	return nil
}

var _ driver.Consumer = (*consumer)(nil)
