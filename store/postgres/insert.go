package postgres

import (
	"database/sql"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/store"
)

// maxInsert bounds the bodies of one insertion in bytes.
const maxInsert = 4 << 20

// queueSends adds the insertions.
func (w writer) queueSends(b *pgx.Batch, ws []*store.Write) {
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
