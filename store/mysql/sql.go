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
	s.Look = now + `, (` + s.NextWake + `)`
	s.SkipLocked = ` for update skip locked`
	// Without an order: the server would lock all that is due before it sorts.
	s.Later = `select seq from posthorn_message force index (posthorn_message_wake)
		where ` + g.Delayed.Through() + ` limit 500` + s.SkipLocked
	s.Expired = `select seq from posthorn_message force index (posthorn_message_wake)
		where ` + g.Leased.Stands + ` and wake_at > ? and ` + g.Leased.Opens + ` limit 500`
	s.Claim, s.ClaimSuspect = claim(store.Ready), claim(g.Suspect.Stands)
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
	s.Ahead = `select count(*) from posthorn_message where state = 0 and queue = ? and (turn < 0 - ?
		  or turn = 0 - ? and (due_at < ? or due_at = ? and seq < ?))`
	s.LetterIDs = `select seq, id from posthorn_letter force index (primary) where seq in`
	s.LetterLock = `select seq, id, discarded_at is not null, octet_length(body)
		from posthorn_letter force index (primary) where seq in`
	s.Waiting = store.WaitingBy(`force index (posthorn_message_ready)`, `turn, due_at, seq`)
	s.TargetsUp = `update posthorn_target force index (primary) set state = ?, since = ? where operation = ? and letter in`
	return s
}

// gates are the gates of the dialect: no index has the column suspect, and state says
// the same.
func gates() store.Gates {
	g := store.PortableGates()
	g.Suspect.Stands = store.Suspected
	return g
}

// claim is a statement that locks messages of one state to be claimed.
func claim(state string) string {
	return `select seq, id, kind, queue, priority, attempt, deliveries + 1, crashes, due_at, sent_at, header, body
		from posthorn_message force index (posthorn_message_ready)
		where ` + state + ` and queue = ? order by turn, due_at, seq limit ? for update skip locked`
}

// operate adds the statements for dead workers and for suspects, which look at the
// leased or suspected rows only. Where rows are to be changed, they are found by
// their keys: an update by anything else would lock what it passes.
func operate(s *store.Statements, g store.Gates) {
	s.Lock = ` for update`
	s.Holds = `select seq from posthorn_message force index (posthorn_message_wake)
		where state = 2 and worker = ?`
	s.HoldsOf = `select seq, token, id, kind, attempt, deliveries, crashes, suspect, coalesce(claimed_at, 0)
		from posthorn_message force index (primary) where state = 2 and worker = ? and seq in`
	s.SuspectsOld = `select seq from posthorn_message force index (posthorn_message_wake)
		where ` + g.Suspect.Through() + ` limit 500`
	s.SuspectKeep = `update posthorn_message force index (posthorn_message_ready) set wake_at = ?
		where ` + g.Suspect.Stands + ` and queue = ?`
}
