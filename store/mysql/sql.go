package mysql

import (
	"strings"

	"github.com/posthorn/posthorn/store"
)

// now does not go through the session's time zone, where an hour of autumn
// comes twice.
const now = `select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000`

// statements are the statements of the dialect. The queue of rows that may be
// ready is walked by its index, and lists of rows are looked up, whatever the
// optimizer's statistics say: it would lock rows that others hold.
func statements() store.Statements {
	s, g := store.Portable(), gates()
	s.Ask(g)
	s.Now = now
	s.SkipLocked = ` for update skip locked`
	// Without an order: the server would lock all that is due before it sorts.
	s.Later = `select seq, due_at from posthorn_message force index (posthorn_message_opens)
		where ` + g.Delayed.Through() + ` limit 500` + s.SkipLocked
	s.NextWake = `select min(opens_at) from posthorn_message where ` + g.Delayed.Stands
	s.Look = now + `, (` + s.NextWake + `)`
	s.HeldBack = store.HeldBackWhere(g.Delayed.Stands + ` order by opens_at`)
	s.Ready = `select 1 from posthorn_message force index (posthorn_message_turn)
		where ` + ready + ` and queue = ? limit 1`
	leaseWords(&s, g)
	s.Claim, s.ClaimSuspect = candidates+inTurn, claimSuspect(g)
	s.ClaimMark = `update posthorn_message force index (primary) set state = 2, token = ?, worker = ?,
		claimed_at = @posthorn_now, wake_at = @posthorn_now + ?` + store.CountDelivery() + `
		where seq in`
	s.Claims = `select seq, token from posthorn_message force index (primary) where seq in`
	s.Load = `select least(@@max_connections, coalesce(nullif(@@max_user_connections, 0), 1000000)),
		(select count(*) from information_schema.processlist)`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`
	s.Heartbeat = store.HeartbeatRow + `
		on duplicate key update state = values(state), seen_at = values(seen_at), handled = values(handled),
		  failed = values(failed), rss = values(rss), in_flight = values(in_flight), holds = values(holds)`
	s.Pause = store.PauseRow + `
		on duplicate key update reason = values(reason), actor = values(actor), since_ms = values(since_ms),
		  until_ms = values(until_ms)`
	s.GroupCounts = ""
	s.GroupCount = strings.ReplaceAll(s.GroupCount, "posthorn_letter where",
		"posthorn_letter force index (posthorn_letter_group) where")
	// For one of many rows the planner would sort all of them.
	s.BySeq = ` force index (primary)`
	s.LetterSpan += ` force index (posthorn_letter_died)`
	s.LetterDay = strings.ReplaceAll(s.LetterDay, "posthorn_letter where",
		"posthorn_letter force index (posthorn_letter_died) where")
	s.GroupIn = store.GroupRow + ` on duplicate key update fingerprint = values(fingerprint)`
	s.HasText, s.HasBytes = `locate(cast(? as binary), cast(%s as binary)) > 0`, `locate(?, %s) > 0`
	s.TrialBegin, s.TrialEnd, s.TrialUndo = `xa start ?`, `xa end ?`, `xa rollback ?`
	s.Touched = `show session status where variable_name in ('Handler_write', 'Handler_update', 'Handler_delete')`
	operate(&s, g)
	offers(&s)
	s.Depths = `select m.queue, if(h.seq is null, m.gate, 2), count(*), min(m.due_at)
		from posthorn_message m force index (posthorn_message_turn) left join ` + leased + `
		group by if(h.seq is null, m.gate, 2), m.queue order by null`
	s.Ahead = `select count(*) from posthorn_message m force index (posthorn_message_turn) left join ` + leased + `
		where m.gate = 0 and h.seq is null and m.queue = ? and (m.turn < 0 - ?
		  or m.turn = 0 - ? and (m.due_at < ? or m.due_at = ? and m.seq < ?))`
	s.LetterIDs = `select seq, id from posthorn_letter force index (primary) where seq in`
	s.LetterLock = `select seq, id, discarded_at is not null, octet_length(body)
		from posthorn_letter force index (primary) where seq in`
	s.Waiting = strings.Replace(store.WaitingBy(`force index (posthorn_message_turn)`, `turn, due_at, seq`),
		store.Ready, ready, 1)
	s.TargetsUp = `update posthorn_target force index (primary) set state = ?, since = ? where operation = ? and letter in`
	return s
}

// gates are the gates of the dialect: delayed messages and suspects have a key, which
// does not tell what is leased from what is ready.
func gates() store.Gates {
	const opens = `opens_at <= ?`
	g := store.PortableGates()
	g.Delayed = store.Gate{Stands: `gate = 1`, Opens: opens}
	g.Suspect = store.Gate{Stands: `gate = 3`, Opens: opens}
	return g
}

// ready is store.Ready by the key that holds what is leased, too.
const ready = `gate = 0 and ` + store.Ready

// candidates is a query for the keys of messages that are ready, which locks nothing, and
// inTurn its end. A query that locks takes several times as long for each row that it passes, which it
// locks in the key in which it walks and in the table's own; what was found is locked by the table's own alone.
const (
	candidates = `select seq as number from posthorn_message force index (posthorn_message_turn)
		where ` + ready + ` and queue = ?`
	inTurn = ` order by turn, due_at, seq limit ?`
)

// claimed are the columns of a claim.
const claimed = `seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body`

// claimSuspect locks suspects to be claimed.
func claimSuspect(g store.Gates) string {
	return `select ` + claimed + ` from posthorn_message force index (posthorn_message_turn)
		where ` + g.Suspect.Stands + ` and queue = ? order by turn, due_at, seq limit ? for update skip locked`
}

// of joins a claim l with those of its messages m that it still holds; leased are the
// sequences h of all that is held. They are distinct anyway, but the word makes the server
// read them once, and not for each row that they are joined to.
const (
	listed = `json_table(l.seqs, '$[*]' columns (seq bigint path '$')) h`
	of     = `posthorn_lease l join ` + listed + ` straight_join posthorn_message m on m.seq = h.seq and m.token = l.token`
	leased = `(select distinct m.seq from ` + of + `) h on h.seq = m.seq`
)

// leaseWords adds the statements for leases that run out.
func leaseWords(s *store.Statements, g store.Gates) {
	const these = ` where l.token in (
		select token from json_table(?, '$[*]' columns (token ` + wordType + ` path '$')) c)`
	s.Expired = ""
	s.InHand = `select l.worker, m.queue, count(*), min(m.claimed_at), max(m.claimed_at)
		from ` + of + ` group by l.worker, m.queue`
	s.LeasesDue = `select token from posthorn_lease force index (posthorn_lease_ends) where ends_at <= ?
		order by ends_at limit ?` + s.SkipLocked
	s.LeaseIsDue = `select 1 from posthorn_lease where ends_at <= ? limit 1`
	s.LeaseExpired = `select m.seq from ` + of + these + ` and m.` + g.Leased.Opens + ` limit 500`
	s.LeaseLock = `select seq from posthorn_message force index (primary)
		where state = 2 and ` + g.Leased.Opens + ` and seq in`
	s.LeaseLeft = `select l.token, min(m.wake_at) from posthorn_lease l left join ` + listed + ` on true
		left join posthorn_message m on m.seq = h.seq and m.token = l.token` + these + ` group by l.token order by null`
	s.LeaseGone = `delete from posthorn_lease where token = ?`
	s.LeaseNext = `update posthorn_lease set ends_at = ? where token = ?`
	s.Holds = `select m.seq from ` + of + ` where l.worker = ?`
}

// operate adds the statements for dead workers and for suspects. Where rows are to be
// changed, they are found by their keys: an update by anything else would lock what it passes.
func operate(s *store.Statements, g store.Gates) {
	s.Lock = ` for update`
	s.HoldsOf = `select seq, token, id, kind, attempt, deliveries, crashes, suspect, coalesce(claimed_at, 0)
		from posthorn_message force index (primary) where state = 2 and worker = ? and seq in`
	s.SuspectsOld = `select seq from posthorn_message force index (posthorn_message_opens)
		where ` + g.Suspect.Through() + ` limit 500`
	s.SuspectReady = `select 1 from posthorn_message force index (posthorn_message_turn)
		where ` + g.Suspect.Stands + ` and queue = ? limit 1`
	s.SuspectKeep = `update posthorn_message force index (posthorn_message_turn) set wake_at = ?
		where ` + g.Suspect.Stands + ` and queue = ?`
	s.Suspects = `select count(*) from posthorn_message force index (posthorn_message_turn)
		where ` + g.Suspect.Stands + ` and queue in`
}
