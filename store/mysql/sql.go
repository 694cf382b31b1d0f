package mysql

import "github.com/posthorn/posthorn/store"

// insertColumns are the columns that Insert and InsertTx fill.
const insertColumns = `insert into posthorn_message
  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body)`

// insertRow are the parameters of one row of Insert.
const insertRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// now does not go through the session's time zone, where an hour of autumn
// comes twice.
const now = `select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000`

// statements are the statements of the dialect. The queue of rows that may be
// ready is walked by its index, and lists of rows are looked up, whatever the
// optimizer's statistics say: it would lock rows that others hold.
func statements() store.Statements {
	s := store.Statements{
		StoreID: `select value from posthorn_meta where name = 'store_id'`,
		Now:     now,

		Insert: insertColumns + ` values ` + insertRow,
		InsertTx: insertColumns + ` select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from posthorn_meta
			where name = 'store_id' and value = ?`,

		// Without an order: the server would lock all that is due before it sorts.
		Due: `select seq, state from posthorn_message force index (posthorn_message_wake)
			where state in (1, 2) and wake_at <= ? limit 500 for update skip locked`,
		Crashed: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack)
			select id, attempt + 1, worker, claimed_at, (wake_at - claimed_at) * 1000, 'crash',
			  'its worker fell silent while holding it', ''
			from posthorn_message where seq = ?`,
		// The assignments are made from left to right.
		Promote: `update posthorn_message
			set crashes = crashes + (state = 2), state = 0, token = null, worker = null, claimed_at = null
			where seq = ? and state > 0 and wake_at <= ?`,
		Ready: `select 1 from posthorn_message where state = 0 and queue = ? limit 1`,
		Claim: `select seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body
			from posthorn_message force index (posthorn_message_ready)
			where state = 0 and queue = ? order by turn, due_at, seq limit ? for update skip locked`,
		ClaimMark: `update posthorn_message force index (primary)
			set state = 2, token = ?, worker = ?, claimed_at = ?, wake_at = ?, deliveries = deliveries + 1
			where seq in`,
		NextWake: `select nullif(least(coalesce((select min(wake_at) from posthorn_message where state = 1), ~0 >> 1),
			  coalesce((select min(wake_at) from posthorn_message where state = 2), ~0 >> 1)), ~0 >> 1)`,
		Extend:  `update posthorn_message set wake_at = ? where seq = ? and token = ?`,
		Ack:     `delete from posthorn_message where seq = ? and token = ?`,
		DropLog: `delete from posthorn_attempt where message_id = ?`,
		Postpone: `update posthorn_message
			set state = ?, due_at = ?, wake_at = ?, attempt = attempt + ?, queue = coalesce(nullif(?, ''), queue),
			  token = null, worker = null, claimed_at = null
			where seq = ? and token = ?`,
		Letter: `insert into posthorn_letter
			  (died_at, reason, class, error,
			   id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body)
			select ?, ?, ?, ?, id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body
			from posthorn_message where seq = ? and token = ?`,
		LogAttempt: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack)
			values (?, ?, ?, ?, ?, ?, ?, ?)`,
		LogTrim: `delete a from posthorn_attempt a join (
			  select seq, message_id from posthorn_attempt where message_id = ? order by seq desc limit 1 offset ?) old
			on a.message_id = old.message_id and a.seq <= old.seq`,
	}
	operate(&s)
	inspect(&s)
	return s
}

// operate adds the statements of groups, workers and orders.
func operate(s *store.Statements) {
	s.Savepoint = `savepoint posthorn_unit`
	s.Release = `release savepoint posthorn_unit`
	s.RollbackTo = `rollback to savepoint posthorn_unit`
	s.Claims = `select seq, token from posthorn_message force index (primary) where seq in`
	s.SkipLocked = ` for update skip locked`
	s.Claims = `select seq, token from posthorn_message force index (primary) where seq in`
	s.SkipLocked = ` for update skip locked`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`

	s.Heartbeat = `insert into posthorn_worker
			  (id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
			   in_flight, concurrency)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			on duplicate key update state = values(state), seen_at = values(seen_at), handled = values(handled),
			  failed = values(failed), rss = values(rss), in_flight = values(in_flight)`
	s.Deregister = `delete from posthorn_worker where id = ?`
	s.Workers = `select id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
			  in_flight, concurrency from posthorn_worker order by started_at, id`
	s.PurgeWorker = `delete from posthorn_worker where seen_at < ?`
	s.Stop = `update posthorn_control set version = version + 1 where name = 'stop'`
	s.StopGen = `select version from posthorn_control where name = 'stop'`
	s.ReleaseDead = `update posthorn_message set wake_at = ? where state = 2 and wake_at > ? and worker = ?`
}

// inspect adds the statements of dead letters and figures.
func inspect(s *store.Statements) {
	s.Depths = `select queue, state, count(*), min(due_at) from posthorn_message group by state, queue`
	s.LetterCounts = `select queue, count(*) from posthorn_letter where discarded_at is null group by queue`
	s.Find = `select seq, id, kind, queue, priority, state, attempt, deliveries, crashes, due_at, wake_at, sent_at,
			  coalesce(claimed_at, 0), coalesce(worker, ''), header, body from posthorn_message where id = ?`
	s.Ahead = `select count(*) from posthorn_message where state = 0 and queue = ? and (turn < 0 - ?
			  or turn = 0 - ? and (due_at < ? or due_at = ? and seq < ?))`
	s.Letters = `select seq, id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, discarded_at,
			  reason, class, error, header, body from posthorn_letter`
	s.Attempts = `select number, worker, started_at, duration_us, class, error, stack
			from posthorn_attempt where message_id = ? order by seq`
	s.LetterBack = insertColumns + `
			select l.id, l.kind, l.queue, l.priority, 0, n.due, n.due, l.sent_at, 0, l.header, l.body
			from posthorn_letter l, (select ? as due) n where l.seq = ?`
	s.LetterDrop = `delete from posthorn_letter where seq = ?`
	s.LetterGone = `update posthorn_letter set discarded_at = ? where seq = ? and discarded_at is null`
	s.LetterPurge = `delete from posthorn_letter where died_at < ?`
	s.AttemptPurge = `delete a from posthorn_attempt a join (
			  select o.seq from posthorn_attempt o
			  where not exists (select 1 from posthorn_message m where m.id = o.message_id)
			    and not exists (select 1 from posthorn_letter l where l.id = o.message_id) limit 1000) old
			on a.seq = old.seq`
}
