package postgres

import "github.com/posthorn/posthorn/store"

// statements are the statements of the dialect.
func statements() store.Statements {
	s := store.Portable()
	s.Now = `select (extract(epoch from clock_timestamp()) * 1000)::bigint`
	s.Due = `select seq, state from posthorn_message where state > 0 and wake_at <= ?
		order by wake_at limit 500 for update skip locked`
	s.Claim = `update posthorn_message m
		set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?, deliveries = m.deliveries + 1
		from (select seq from posthorn_message where state = 0 and queue = ?
		  order by priority desc, due_at, seq limit ? for update skip locked) c
		where m.seq = c.seq
		returning m.seq, m.id, m.kind, m.queue, m.priority, m.attempt, m.deliveries, m.crashes, m.due_at, m.sent_at,
		  m.header, m.body`
	s.SkipLocked = ` for update skip locked`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`
	return s
}
