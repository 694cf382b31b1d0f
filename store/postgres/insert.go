package postgres

import (
	"database/sql"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// maxInsert bounds the bodies of one insertion in bytes.
const maxInsert = 4 << 20

// queueSends adds the insertions.
func (w writer) queueSends(b *pgx.Batch, ws []*store.Write) {
	if lone := store.Lone(ws); lone != nil {
		m := &lone.Send[0]
		b.Queue(w.insertHeld, m.ID, m.Kind, m.Queue, int16(m.Priority), int32(m.Attempt), m.Header, m.Body, lone.Hand)
		return
	}
	var (
		ms   []*store.Message
		size int // of the bodies
	)
	for _, one := range ws {
		ms = slices.Grow(ms, len(one.Send))
		for i := range one.Send {
			m := &one.Send[i]
			if size > 0 && size+len(m.Body) > maxInsert {
				w.queueSend(b, ms)
				ms, size = nil, 0
			}
			ms, size = append(ms, m), size+len(m.Body)
		}
	}
	if len(ms) > 0 {
		w.queueSend(b, ms)
	}
}

// queueSend adds one insertion. Messages that are sent together are mostly alike but for their ids and
// bodies: then the server need not take what they have in common out of an array for each (ADR 58). A lone one needs
// no arrays.
func (w writer) queueSend(b *pgx.Batch, ms []*store.Message) {
	if m := ms[0]; len(ms) == 1 {
		b.Queue(w.insertOne, m.ID, m.Kind, m.Queue, int16(m.Priority), m.Delay, m.At, int32(m.Attempt), m.Header, m.Body)
		return
	}
	ids, contents := make(texts, len(ms)), make(bodies, len(ms))
	alike := true
	for i, m := range ms {
		ids[i], contents[i] = m.ID, m.Body
		alike = alike && likeness(m) == likeness(ms[0])
	}
	if first := ms[0]; alike {
		b.Queue(w.insertAlike, ids, first.Kind, first.Queue, int16(first.Priority), first.Delay, first.At,
			int32(first.Attempt), first.Header, contents)
		return
	}
	kinds, queues, headers := make(texts, len(ms)), make(texts, len(ms)), make(headers, len(ms))
	priorities, attempts := make([]int16, len(ms)), make([]int32, len(ms))
	delays, ats := make(integers, len(ms)), make(integers, len(ms))
	for i, m := range ms {
		kinds[i], queues[i], headers[i] = m.Kind, m.Queue, m.Header
		priorities[i], attempts[i] = int16(m.Priority), int32(m.Attempt)
		delays[i], ats[i] = m.Delay, m.At
	}
	b.Queue(w.insert, ids, kinds, queues, priorities, delays, ats, attempts, headers, contents)
}

// insertHeld is a statement that inserts a message that is due at once, for the idle consumer whose offer has the
// most room, if there is one. What others give to at the moment is passed by.
func insertHeld() string {
	deliveries, first, lease := ``, ``, ``
	if safety.CrashCount {
		deliveries, first = `, deliveries`, `, (o.id is not null)::int`
	}
	if safety.Leases {
		lease = `, lease as (insert into posthorn_lease (token, worker, ends_at, seqs)
			  select s.token, o.worker, o.now + o.lease, array[s.seq] from sent s, pick o)`
	}
	return `with moment as materialized (select ` + clock + ` as now),
		pick as materialized (select o.*, m.now from moment m cross join lateral (
		  select o.queue, o.until_ms, o.id, o.worker, o.lease from posthorn_offer o
		  where o.queue = $3::text and ` + store.OpenOffer(`m.now`) + `
		  order by o.room desc limit 1 for update skip locked) o),
		sent as (insert into posthorn_message
		    (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, delayed, token, worker,
		     claimed_at` + deliveries + `)
		  select $1::text, $2::text, $3::text, $4::smallint, case when o.id is null then 0 else 2 end, m.now,
		    m.now + coalesce(o.lease, 0), m.now, $5::int, $6::text, $7::bytea, false, o.id || $8::text, o.worker,
		    o.now` + first + `
		  from moment m left join pick o on true returning seq, token)` + lease + `
		update posthorn_offer p set room = p.room - 1, given = p.given || s.seq
		from sent s, pick o where p.queue = o.queue and p.until_ms = o.until_ms and p.id = o.id`
}

// A like is what messages that are alike have in common.
type like struct {
	kind, queue       string
	priority, attempt int
	delay, at         int64
	header            sql.NullString
}

func likeness(m *store.Message) like {
	return like{
		kind: m.Kind, queue: m.Queue, priority: m.Priority, attempt: m.Attempt, delay: m.Delay, at: m.At, header: m.Header,
	}
}
