package mysql

import "github.com/posthorn/posthorn/store"

// now does not go through the session's time zone, where an hour of autumn
// comes twice.
const now = `select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000`

// statements are the statements of the dialect. The queue of rows that may be
// ready is walked by its index, and lists of rows are looked up, whatever the
// optimizer's statistics say: it would lock rows that others hold.
func statements() store.Statements {
	s := store.Portable()
	s.Now = now
	s.SkipLocked = ` for update skip locked`
	// Without an order: the server would lock all that is due before it sorts.
	s.Later = `select seq from posthorn_message force index (posthorn_message_wake)
		where state = 1 and wake_at <= ? limit 500` + s.SkipLocked
	s.Expired = `select seq from posthorn_message force index (posthorn_message_wake)
		where state = 2 and wake_at > ? and wake_at <= ? limit 500`
	s.Claim = `select seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body
		from posthorn_message force index (posthorn_message_ready)
		where state = 0 and queue = ? order by turn, due_at, seq limit ? for update skip locked`
	s.ClaimMark = `update posthorn_message force index (primary)
		set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?, deliveries = deliveries + 1
		where seq in`
	s.Claims = `select seq, token from posthorn_message force index (primary) where seq in`
	s.Load = `select least(@@max_connections, coalesce(nullif(@@max_user_connections, 0), 1000000)),
		(select count(*) from information_schema.processlist)`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`
	s.Heartbeat = `insert into posthorn_worker
		  (id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
		   in_flight, concurrency)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		on duplicate key update state = values(state), seen_at = values(seen_at), handled = values(handled),
		  failed = values(failed), rss = values(rss), in_flight = values(in_flight)`
	s.ReleaseDead = `update posthorn_message set wake_at = ? where state = 2 and wake_at > ? and worker = ?`
	s.Ahead = `select count(*) from posthorn_message where state = 0 and queue = ? and (turn < 0 - ?
		  or turn = 0 - ? and (due_at < ? or due_at = ? and seq < ?))`
	s.AttemptPurge = `delete a from posthorn_attempt a join (
		  select o.seq from posthorn_attempt o
		  where not exists (select 1 from posthorn_message m where m.id = o.message_id)
		    and not exists (select 1 from posthorn_letter l where l.id = o.message_id) limit 1000) old
		on a.seq = old.seq`
	return s
}
