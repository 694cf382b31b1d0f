package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/store"
)

// maxInsert bounds the bodies of one insertion in bytes.
const maxInsert = 4 << 20

// queueSends adds the insertions.
func (w writer) queueSends(b *pgx.Batch, ws []*store.Write) {
	n := 0
	for _, one := range ws {
		n += len(one.Send)
	}
	if n == 0 {
		return
	}
	c := newColumns(n)
	for _, one := range ws {
		for _, m := range one.Send {
			if c.size > 0 && c.size+len(m.Body) > maxInsert {
				b.Queue(w.insert, c.args()...)
				c = newColumns(n)
			}
			c.add(m)
		}
	}
	b.Queue(w.insert, c.args()...)
}

// columns are messages by their columns.
type columns struct {
	id, kind, queue texts
	priority        []int16
	delay, at       integers
	attempt         []int32
	header          headers
	body            bodies
	size            int // of the bodies
}

func newColumns(n int) *columns {
	n = min(n, 1000)
	return &columns{
		id: make(texts, 0, n), kind: make(texts, 0, n), queue: make(texts, 0, n),
		priority: make([]int16, 0, n), delay: make(integers, 0, n), at: make(integers, 0, n),
		attempt: make([]int32, 0, n), header: make(headers, 0, n), body: make(bodies, 0, n),
	}
}

func (c *columns) add(m store.Message) {
	c.id, c.kind, c.queue = append(c.id, m.ID), append(c.kind, m.Kind), append(c.queue, m.Queue)
	c.priority, c.attempt = append(c.priority, int16(m.Priority)), append(c.attempt, int32(m.Attempt))
	c.delay, c.at = append(c.delay, m.Delay), append(c.at, m.At)
	c.header, c.body = append(c.header, m.Header), append(c.body, m.Body)
	c.size += len(m.Body)
}

func (c *columns) args() []any {
	return []any{c.id, c.kind, c.queue, c.priority, c.delay, c.at, c.attempt, c.header, c.body}
}
