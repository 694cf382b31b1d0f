package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/posthorn/posthorn/driver"
)

// EncodeHeader is for the fuzz test.
func EncodeHeader(h map[string]string) (sql.NullString, error) { return encodeHeader(h) }

// DecodeHeader is for the fuzz test.
func DecodeHeader(s sql.NullString) (map[string]string, error) { return decodeHeader(s) }

// StartRarely has claims begin at the start about never, as if one took for ever.
func (s *Store) StartRarely() { s.StartAPartOfTheTime(1e6) }

// StartAPartOfTheTime has looks from the start be dear, and take one part in share of the time.
func (s *Store) StartAPartOfTheTime(share int) {
	s.wholeShare, s.leastCost = time.Duration(share), time.Millisecond
}

// Begun is when a consumer last began at the start of a queue to look for what was left behind, and, once
// that is over, when it last began there or at a line.
func Begun(c driver.Consumer, queue string) (start, line time.Time) {
	m := c.(*consumer).marks[queue]
	if m.round.all {
		return m.chain, time.Time{}
	}
	return m.chain, m.from
}

// Moments are those that a consumer knows, as times and transactions.
type Moments = moments

// Add adds one, by a clock of the host's that has the time seen before, and told after it was asked for.
func (ms *moments) Add(now, next int64, seen, told time.Time) bool {
	return ms.add(moment{now: now, next: next, seen: seen, told: told})
}

// Before is the last one at which a transaction had not begun; 0: unknown.
func (ms moments) Before(tx int64) int64 {
	last, _ := ms.before(tx)
	return last.now
}

// Owes reports whether the next claim of a consumer has to look before the marks for what another one had
// no room for.
func Owes(c driver.Consumer, queue string) bool { return c.(*consumer).marks[queue].debt.owed }

// Reprieve has a consumer of such leases have spared some.
func (s *Store) Reprieve(at time.Time, lease time.Duration) { s.reprieve.Store(&reprieve{at, lease}) }

// Spares reports whether a consumer spares leases now, and whether it counts those as spared before.
func Spares(c driver.Consumer) (now, before bool) {
	own := c.(*consumer)
	return own.spares(), own.spared()
}

// SplitToken gives the sequence and the claim of a token.
func SplitToken(t driver.Token) (int64, string, error) { return splitToken(t) }

// Unsure has a consumer not know whether the claims of these deliveries were committed.
func Unsure(c driver.Consumer, ds []driver.Delivery) { c.(*consumer).unsure = ds }

// Slices are the parts of a round that begins at a due time, from the latest on, each of which takes a time. It
// returns what a round is taken to cost.
func Slices(below int64, take func(low, high int64) (took time.Duration, failed bool)) time.Duration {
	r := round{}.goesOn(time.Now(), []Mark{{Due: below}})
	for !r.over() {
		low, high := r.slice()
		if took, failed := take(low, high); failed {
			r.tooWide(took)
		} else {
			r.sliced(low, took)
		}
	}
	return r.cost
}

// MarkOf is the due time from which a consumer claims a priority of a queue; 0: from the start.
func MarkOf(c driver.Consumer, queue string, priority int) int64 {
	for _, m := range c.(*consumer).marks[queue].at {
		if m.Priority == priority {
			return m.Due
		}
	}
	return 0
}

// OfferForLong has offers stand for longer than any test takes, on a slow machine, too.
func (s *Store) OfferForLong() { s.OfferFor(time.Hour, time.Hour) }

// OfferFor has offers stand for so long, and be made so long after the last message.
func (s *Store) OfferFor(stand, after time.Duration) { s.offerFor, s.offerAfter = stand, after }

// HandAfter is how long after the one before a message is sent that may be given to who waits.
const HandAfter = 2 * handAfter

// Room is how many messages a consumer may be given still, as the database knows.
func Room(ctx context.Context, c driver.Consumer) (room int, err error) {
	own := c.(*consumer)
	err = own.store.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		stmt := own.store.Rebind(own.store.Names.In("select room from posthorn_offer where worker = ?"))
		return q.Query(ctx, stmt, []any{own.sub.Worker}, func(r Row) error { return r.Scan(&room) })
	})
	return room, err
}

// Replace has a consumer make another offer in the place of the one that stands.
func Replace(ctx context.Context, c driver.Consumer, queue string, room int) error {
	return c.(*consumer).replace(ctx, queue, room)
}

// WasGiven reports whether a delivery is of the last offer of a consumer.
func WasGiven(c driver.Consumer, d driver.Delivery) bool {
	rows := c.(*consumer).offer.rows
	return len(rows) > 0 && strings.Contains(string(d.Token), "."+rows[len(rows)-1].id)
}
