package postgres

import "github.com/posthorn/posthorn/store"

// insertColumns are the columns that Insert and InsertTx fill.
const insertColumns = `insert into posthorn_message
  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body)`

// statements are the statements of the dialect. A question mark is a parameter.
func statements() store.Statements {
	s := store.Statements{
		StoreID: `select value from posthorn_meta where name = 'store_id'`,
		Now:     `select (extract(epoch from clock_timestamp()) * 1000)::bigint`,

		Insert: insertColumns + ` values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		InsertTx: insertColumns + ` select ?::varchar, ?::varchar, ?::varchar, ?::smallint, ?::smallint, ?::bigint,
			  ?::bigint, ?::bigint, ?::integer, ?::text, ?::bytea
			where (select value from posthorn_meta where name = 'store_id') = ?::text`,

		Due: `select seq, state from posthorn_message where state > 0 and wake_at <= ?
			order by wake_at limit 500 for update skip locked`,
		Crashed: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack)
			select id, attempt + 1, worker, claimed_at, (wake_at - claimed_at) * 1000, 'crash',
			  'its worker fell silent while holding it', ''
			from posthorn_message where seq = ?`,
		Promote: `update posthorn_message
			set crashes = crashes + (state = 2)::int, state = 0, token = null, worker = null, claimed_at = null
			where seq = ? and state > 0 and wake_at <= ?`,
		Ready:    `select 1 from posthorn_message where state = 0 and queue = ? limit 1`,
		NextWake: `select min(wake_at) from posthorn_message where state > 0`,
		Claim: `update posthorn_message m
			set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?, deliveries = m.deliveries + 1
			from (select seq from posthorn_message where state = 0 and queue = ?
			  order by priority desc, due_at, seq limit ? for update skip locked) c
			where m.seq = c.seq
			returning m.seq, m.id, m.kind, m.queue, m.priority, m.attempt, m.deliveries, m.crashes, m.due_at, m.sent_at,
			  m.header, m.body`,
		Extend:  `update posthorn_message set wake_at = ? where seq = ? and token = ?`,
		Ack:     `delete from posthorn_message where seq = ? and token = ?`,
		DropLog: `delete from posthorn_attempt where message_id = ?`,
		Postpone: `update posthorn_message
			set state = ?, due_at = ?, wake_at = ?, attempt = attempt + ?, queue = coalesce(nullif(?, ''), queue),
			  token = null, worker = null, claimed_at = null
			where seq = ? and token = ?`,
		Letter: `insert into posthorn_letter
			  (id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body,
			   died_at, reason, class, error)
			select id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body,
			  ?::bigint, ?::varchar, ?::varchar, ?::text
			from posthorn_message where seq = ? and token = ?`,
		LogAttempt: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack)
			values (?, ?, ?, ?, ?, ?, ?, ?)`,
		LogTrim: `delete from posthorn_attempt a using (
			  select seq, message_id from posthorn_attempt where message_id = ? order by seq desc limit 1 offset ?) old
			where a.message_id = old.message_id and a.seq <= old.seq`,
	}
	operate(&s)
	inspect(&s)
	return s
}

// operate adds the statements of groups, workers and orders.
func operate(s *store.Statements) {
	s.Savepoint = `savepoint posthorn_unit`
	s.Release = `release posthorn_unit`
	s.RollbackTo = `rollback to posthorn_unit`
	s.Claims = `select seq, token from posthorn_message where seq in`
	s.SkipLocked = ` for update skip locked`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`

	s.Heartbeat = `insert into posthorn_worker
			  (id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
			   in_flight, concurrency)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			on conflict (id) do update set state = excluded.state, seen_at = excluded.seen_at,
			  handled = excluded.handled, failed = excluded.failed, rss = excluded.rss,
			  in_flight = excluded.in_flight`
	s.Deregister = `delete from posthorn_worker where id = ?`
	s.Workers = `select id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
			  in_flight, concurrency from posthorn_worker order by started_at, id`
	s.PurgeWorker = `delete from posthorn_worker where seen_at < ?`
	s.Stop = `update posthorn_control set version = version + 1 where name = 'stop'`
	s.StopGen = `select version from posthorn_control where name = 'stop'`
	s.ReleaseDead = `update posthorn_message set wake_at = ?
			where state > 0 and wake_at > ? and state = 2 and worker = ?`
}

// inspect adds the statements of dead letters and figures.
func inspect(s *store.Statements) {
	s.Depths = `select queue, state, count(*), min(due_at) from posthorn_message group by queue, state`
	s.LetterCounts = `select queue, count(*) from posthorn_letter where discarded_at is null group by queue`
	s.Find = `select seq, id, kind, queue, priority, state, attempt, deliveries, crashes, due_at, wake_at, sent_at,
			  coalesce(claimed_at, 0), coalesce(worker, ''), header, body from posthorn_message where id = ?`
	s.Ahead = `select count(*) from posthorn_message where state = 0 and queue = ? and (priority > ?
			  or priority = ? and (due_at < ? or due_at = ? and seq < ?))`
	s.Letters = `select seq, id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, discarded_at,
			  reason, class, error, header, body from posthorn_letter`
	s.Attempts = `select number, worker, started_at, duration_us, class, error, stack
			from posthorn_attempt where message_id = ? order by seq`
	s.LetterBack = insertColumns + `
			select l.id, l.kind, l.queue, l.priority, 0, n.at, n.at, l.sent_at, 0, l.header, l.body
			from posthorn_letter l, (select ?::bigint as at) n where l.seq = ?`
	s.LetterDrop = `delete from posthorn_letter where seq = ?`
	s.LetterGone = `update posthorn_letter set discarded_at = ? where seq = ? and discarded_at is null`
	s.LetterPurge = `delete from posthorn_letter where died_at < ?`
	s.AttemptPurge = `delete from posthorn_attempt where seq in (
			select a.seq from posthorn_attempt a
			where not exists (select 1 from posthorn_message m where m.id = a.message_id)
			  and not exists (select 1 from posthorn_letter l where l.id = a.message_id) limit 1000)`
}
