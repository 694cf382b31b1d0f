package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/safety"
)

// A message that is sent while a worker is idle is claimed for it by the transaction that sends it: its worker reads
// it, and need not wait for a commit of its own before it begins (ADR 61). A consumer that has nothing to
// do offers to take some messages of a queue, for a while (offer.go). Whoever sends a message alone gives it to the
// consumer whose offer has the most room. The offer's row is locked from then on until the message is
// committed, so who ends an offer knows all that it has brought.

const (
	// handAfter is how long after the one before a message must be sent to be handed over: who sends one after the
	// other shares commits with others, and keeps consumers busy.
	handAfter = time.Millisecond
	// handLen is of how many characters an offer's id, and what is added to it for a token, are: 65 bits.
	handLen = 13
)

// offered adds the statements of offers.
func offered(s *Statements) {
	s.OfferIn = `insert into posthorn_offer (queue, until_ms, id, worker, lease, room, given)
		values (?, ?, ?, ?, ?, ?, '[]')`
	const this = ` where queue = ? and until_ms = ? and id = ?`
	s.OfferEnd = `update posthorn_offer set room = 0` + this
	s.OfferDrop = `delete from posthorn_offer` + this
	s.OffersOf = `select queue, until_ms, id from posthorn_offer where worker = ?`
	s.OfferOld = `delete from posthorn_offer where until_ms < ?`
	s.InsertHeld = `insert into posthorn_message
		  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, token, worker, claimed_at` +
		countFirst(", deliveries") + `)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?` + countFirst(", 1") + `)`
}

// countFirst is a part of a statement where the first delivery of a message is counted, else nothing.
func countFirst(part string) string {
	if !safety.CrashCount {
		return ""
	}
	return part
}

// OfferedColumns are the columns of Statements.Offered, of a message m, but for the clock.
const OfferedColumns = `m.seq, m.id, m.kind, m.queue, m.priority, m.attempt, m.deliveries, m.crashes, m.due_at,
	m.sent_at, m.header, m.body, m.token, m.wake_at`

// OpenOffer is the condition that an offer o takes messages, but for its queue, by an expression for the store's clock.
func OpenOffer(now string) string {
	return `o.room > 0 and o.until_ms > ` + now + ` and not exists (select 1 from posthorn_pause w
		where w.queue = o.queue and (w.until_ms is null or w.until_ms > ` + now + `))`
}

// A sending says which messages are handed over.
type sending struct {
	last   atomic.Int64 // when one was sent last, in nanoseconds since the store was opened
	opened time.Time
	never  atomic.Bool // its user has no right to
}

// mayGive finds out whether the user may give messages to who waits: who has the rights of a producer alone may
// not, and sends as if nobody waited.
func (s *Store) mayGive(ctx context.Context) error {
	if s.SQL.MayGive == "" {
		return nil
	}
	return s.Engine.Read(ctx, func(ctx context.Context, q Session) error {
		return q.Query(ctx, s.SQL.MayGive, nil, func(r Row) error {
			may := false
			err := r.Scan(&may)
			s.sending.never.Store(!may)
			return err
		})
	})
}

// forbids reports whether the user may not do something with offers, or there are none in this store.
func (s *Store) forbids(err error) bool {
	return err != nil && (s.Parts.Fault(err) == FaultPermission || s.Parts.Classify(err) == ClassNoTable)
}

// hand is Write.Hand for the message that is sent now.
func (s *Store) hand(ms []Message) string {
	now := int64(time.Since(s.sending.opened))
	last := s.sending.last.Swap(now)
	if len(ms) != 1 || ms[0].Delay > 0 || ms[0].At > 0 || s.SQL.Offered == "" || s.sending.never.Load() ||
		now-last < int64(handAfter) {
		return ""
	}
	return rand128()[:handLen]
}

// Lone is the message that is to be handed over, of writes that share a transaction, else nil. It shares it with
// nothing: while an offer is locked, its consumer cannot end it, and what is done at the same time may have to lock
// another one.
func Lone(ws []*Write) *Write {
	if len(ws) != 1 || ws[0].Hand == "" || len(ws[0].Send) != 1 || !ws[0].sends() {
		return nil
	}
	return ws[0]
}

// handOver inserts a message for an idle consumer, if there is one, where there is one writer.
func (s *Statements) handOver(ctx context.Context, q Session, w *Write, now int64) (handed bool, err error) {
	if w == nil {
		return false, nil
	}
	m := w.Send[0]
	var (
		id, worker   string
		until, lease int64
	)
	found := func(r Row) error { return r.Scan(&until, &id, &worker, &lease) }
	if err := q.Query(ctx, s.OfferFind, []any{m.Queue, now, now}, found); err != nil || id == "" {
		return false, err
	}
	row := m.row(now)
	row[4], row[6] = stateClaimed, now+lease
	if _, err := q.Exec(ctx, s.InsertHeld, append(row, id+w.Hand, worker, now)...); err != nil {
		return false, err
	}
	_, err = q.Exec(ctx, s.OfferGive, m.Queue, until, id)
	return true, err
}

// purgeOffers removes the offers of consumers that are gone. It holds nothing that somebody waits for who has locked
// an offer, since MySQL locks what it passes.
func (s *Store) purgeOffers(ctx context.Context) error {
	return s.Engine.Write(ctx, &Write{Quiet: true, Func: func(ctx context.Context, q Session) error {
		now, err := q.Now(ctx)
		if err == nil {
			_, err = q.Exec(ctx, s.SQL.OfferOld, now-offersKept.Milliseconds())
		}
		return err
	}})
}

// dropOffers ends what a dead worker has offered, before what it holds is looked for: who has given it something
// at the same time is waited for.
func (s *Store) dropOffers(ctx context.Context, q Session, worker string) error {
	var rows [][]any
	err := q.Query(ctx, s.SQL.OffersOf, []any{worker}, func(r Row) error {
		var at standing
		err := r.Scan(&at.queue, &at.until, &at.id)
		rows = append(rows, at.args())
		return err
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	_, err = q.ExecMany(ctx, s.SQL.OfferDrop, rows)
	return err
}
