package store

import "github.com/posthorn/posthorn/internal/safety"

// Statements are a dialect's statements. The core gives arguments in the order
// of the comments; times are milliseconds by the store's clock.
type Statements struct {
	StoreID string // → value
	Now     string // → the store's clock in ms; empty where that is the host's

	Insert string // id, kind, queue, priority, state, due, wake, sent, attempt, header, body
	// InsertTx is Insert guarded by the store's id as its last argument: it
	// touches no row in another store.
	InsertTx string

	Later string // now → sequences and due times of delayed rows that have come due, some hundreds at most, locked
	// Expired finds leases that ran out between two times: after, until →
	// sequences, some hundreds at most; with SkipLocked it locks them.
	Expired string
	// LeasesDue and the others stand for Expired where a table of claims says where
	// to look: LeaseIsDue: until → a row if LeasesDue would find one; LeasesDue: until, limit → tokens
	// of claims, locked;
	// LeaseExpired: tokens as JSON, until → sequences of messages; LeaseLock: until, and
	// a list of sequences: → the same, locked, of those whose lease is over still; LeaseLeft:
	// tokens as JSON → token, and when the first lease of its messages ends, null if none is
	// left; LeaseGone: token: removes a claim; LeaseNext: time, token: when to look again.
	LeaseIsDue, LeasesDue, LeaseExpired, LeaseLock, LeaseLeft, LeaseGone, LeaseNext string
	// CameBack notes, in the table of claims, which messages have come back, and have been due for
	// longer than a slack: a word of its own, how long it is kept, slack, sequences as JSON. Horizon: word
	// before the first such note that counts, queue → the server's clock, the first transaction that has
	// not ended, the first that has not begun, and the earliest due time of ready messages that have come
	// back, or null. See horizon.go; empty where claims begin at the start, or at marks alone.
	CameBack, Horizon string
	// ReadyBetween: queue, priority, from, before → the due time of the first ready message that is due
	// between two times, if there is one. With Horizon.
	ReadyBetween string

	Crashed string // seq: writes an attempt for a lease that ran out
	Gates   string // of gates.go: now, now, since, id
	Promote string // seq, now: ends the wait of a row whose time has come
	Ready   string // queue → 1 if it has a ready row, else nothing
	// Look stands for Now and NextWake together: → now, earliest wake. Whether queues
	// have ready rows is asked by the same query: a list of columns ends it.
	Look string
	// Claim finds ready rows: queue, limit → columns of claimed, as they are once they are claimed; of a
	// writer of the dialect's own, who locks them afterwards, their sequences. ClaimThese marks them: token,
	// worker, now, lease end, sequences as JSON. A writer of the dialect's own has ClaimMark,
	// and a list of sequences, instead: token, worker, lease, seq….
	Claim, ClaimThese, ClaimMark string
	// The same for suspects: ClaimSuspect: as Claim; SuspectReady: as Ready.
	ClaimSuspect, SuspectReady string
	SuspectsOld                string // since → sequences of suspects that wait for longer
	SuspectFree                string // seq, since: makes one ready
	SuspectKeep                string // now, queue: lets the suspects of a queue wait from now on
	SuspectBack                string // now, seq, token: gives one back that has not run
	Suspects                   string // followed by a list of queues: queue… → count of those that wait
	NextWake                   string // → the earliest time at which a delayed row comes due, or null
	Extend                     string // lease end, seq, token
	// Of offer.go: OfferIn: queue, until, id, worker, lease, room. OfferEnd, OfferDrop: queue, until, id. OfferOld:
	// until before. OffersOf: worker → queue, until, id. Offered: queue, until, id → columns of claimed, token, lease
	// end, the store's clock; empty where nobody makes offers. Of handover.go: MayGive: → whether the user has the
	// rights to; empty where an error tells. Where Plainly hands over: OfferFind: queue, now, now → until, id, worker,
	// lease. OfferGive: queue, until, id. InsertHeld: the columns of Insert, token, worker, now.
	OfferIn, OfferEnd, OfferDrop, OfferOld, OffersOf, Offered string
	MayGive, OfferFind, OfferGive, InsertHeld                 string
	// Claims is followed by a list of sequences and, to lock what nobody else
	// has locked, by SkipLocked (empty where there is one writer): seq… → seq,
	// token.
	Claims, SkipLocked string
	Ack                string // seq, token
	AckThese           string // sequences as JSON, token: the same for many; empty where Ack costs no more
	DropLog            string // message id
	Postpone           string // state, due, wake, counted, queue, acquitted, seq, token
	Letter             string // died, reason, class, error, fingerprint, error type, build, seq, token
	LogTrim            string // message id, message id, number of attempts to keep
	LogAttempt         string // message id, number, worker, started, duration (µs), class, error, stack, build

	Savepoint, Release, RollbackTo string // of one unit in a group
	// Held locks the row of a claim: seq, token → 1. It waits for a backend
	// that may still be committing. Empty where a commit's outcome is certain.
	Held string

	Heartbeat   string // columns of WorkerRecord
	Told        string // worker → its order
	Tell        string // order, worker
	Deregister  string // id
	Workers     string // → rows
	PurgeWorker string // seen before
	Holds       string // worker → sequences of what it holds
	// HoldsOf is followed by a list of sequences and Lock, which is empty where
	// there is one writer: worker, seq… → columns of hold, in the order of seq.
	HoldsOf, Lock string
	DeadBack      string // state, wake, crashes, suspect, seq, token: gives back what a dead worker held
	DeadCount     string // seq, token: counts a crash

	Charged  string // seq, id → whether crashes are counted; followed by Lock
	Returned string // message id → how many crashes were taken back
	TakeBack string // message id, token: changes the line of a lease that ran out
	Uncharge string // seq: a crash less

	Pause      string // queue, reason, actor, since, until
	Resume     string // queue
	Pauses     string // now → rows
	PausePurge string // ended before
	Document   string // name → version, body
	DocumentIn string // name, body: the first version
	DocumentUp string // body, name, version: the next version

	Depths       string // now → rows of QueueStats
	LetterCounts string // → queue, count
	Find         string // id → a live message
	Ahead        string // queue, priority, priority, due, due, seq → count
	Letters      string // see letters.go; the WHERE clause is appended
	LettersBare  string // the same with an empty body
	Attempts     string // message id → rows
	LetterBack   string // now, now, seq: copies a letter's envelope back to its queue
	LetterDrop   string // seq
	LetterGone   string // now, seq: marks as discarded
	LetterIDs    string // followed by a list of sequences → seq, id
	LetterPurge  string // died before, limit → sequences
	// Of trial.go: TrialBegin, TrialEnd and TrialUndo, with the name of the transaction, where
	// an ordinary one could be committed behind the guard's back; TrialCheck does what the
	// database puts off until the commit; Touched → names and counts of changed rows.
	TrialBegin, TrialEnd, TrialUndo, TrialCheck, Touched string
	// Of transfer.go: LetterIn and RevisionPut: the columns. Each other is followed by a list
	// of ids: → those of letters; those that have attempts, or revisions.
	LetterIn, RevisionPut, Buried, AttemptsOf, RevisionsOf string
	// Of revisions.go: LetterHold: seq; LetterEdit: header, body, seq, revision;
	// LetterRestore: seq; LetterTwin: seq, seq → a row if its id is taken; RevisionIn: now,
	// actor, seq; Revisions: id; RevisionDrop: id; Known: id, id; RevisionsOld:
	// replaced before, limit → ids and numbers of those that belong to nothing; RevisionCut: id,
	// number.
	LetterHold, LetterEdit, LetterRestore, LetterTwin string
	RevisionIn, Revisions, RevisionDrop, Known        string
	RevisionsOld, RevisionCut                         string
	// AttemptsOld: limit → those that belong to nothing; AttemptCut: seq.
	AttemptsOld, AttemptCut string

	// Of audit.go. Audit: id, at, actor, verb, subject, filter, messages, count, was,
	// became, reason. Audited: message id, act. ActsOf: the condition for a message
	// id. ActLast: → the highest sequence, or 0. ActsFirst: limit → sequences, times and
	// ids; the drops are followed by a list of ids.
	Audit, Audited, Acts, ActsOf, ActLast, ActsFirst, AuditDrop, AuditedDrop string

	// Of operations.go. OperationIn: id, state, body; OperationUp: state, active, holder,
	// fence, lease end, end, body, seq. A WHERE clause is appended to Operations.
	Operations, OperationIn, OperationUp string
	// TargetsIn, followed by a filter and its bounds: operation, …; TargetLast: operation →
	// letter; TargetsNext: operation, limit → letters; TargetsFlying: operation, past, limit
	// → letter, whether its message is live (1) or in hand (2), whether it died again; TargetsUp, followed by a
	// list of letters: state, since, operation, letter….
	// TargetIn: letter, operation, message id.
	TargetsIn, TargetIn, TargetLast, TargetsNext, TargetsFlying, TargetsUp string
	// Each is followed by a list. Live, Dead: id… → ids; LetterLock: seq… → seq, id, whether
	// it is discarded, size; LettersBack: queue or empty, now, now, seq…; LettersDrop: seq…;
	// LettersGone: when or null, seq….
	Live, Dead, LetterLock, LettersBack, LettersDrop, LettersGone string

	// Waiting: queue, due by then → 1 if such a message is ready that no operation put back.
	Waiting    string
	LetterLast string // → the highest letter, or 0
	LetterSums string // with the place of a WHERE clause; …, limit
	// OperationOld: ended before → one; TargetsOld: operation → some letters.
	OperationOld, OperationDrop, TargetsOld, TargetsDrop string

	// Of census.go: InHand: → worker, queue, count, first and last claim. HeldBack: →
	// queue, kind, count, earliest due. NewLetters: died after → queue, count. Load: →
	// connections at most, connections now; empty without a server. File: → the
	// path of the store's file; empty on a server.
	InHand, HeldBack, NewLetters, Load, File string

	// Of groups.go: GroupIn: fingerprint, algorithm, kind, class, error type, title,
	// first seen, build, its time: adds one that is not there. GroupAgain: time,
	// fingerprint: one that was resolved has come back. GroupsAgain: time: all that have.
	// Groups: → rows. GroupStates: → state, count. GroupSet: state, note, actor, time, fingerprint. GroupsOld: before,
	// before: those without letters of which nothing was heard since; GroupPurge: the same, and
	// fingerprint. GroupCounts: bounds →
	// fingerprint and columns of tally; empty where GroupFirst: → fingerprint, GroupNext:
	// fingerprint → the next, and GroupCount: fingerprint, fingerprint, then fingerprint and
	// bounds for each part → columns of tally, stand for it. HourBounds: times → sequences.
	// LetterHeads: sequences → columns of Letters with an empty body. Unmarked: after, limit →
	// letters without a fingerprint. Mark: fingerprint, seq.
	GroupIn, GroupAgain, GroupsAgain, Groups, GroupStates, GroupSet, GroupsOld, GroupPurge, GroupCounts string
	GroupFirst, GroupNext, GroupCount, HourBounds, LetterHeads, Unmarked, Mark                          string
	// Version: worker → the version of its program.
	Version string
	// Of page.go: LetterSeqs is followed by the condition of a filter: → sequences.
	// LetterFacets is, too, and by what it is counted is its verb: → value, count, first and
	// last death. LetterDay has a condition as its verb: from, to, from, to, to, end → how many
	// died from one time to another, the last of them, and the first after that and before the end.
	// BySeq follows LetterSeqs, Letters and TargetsIn where letters are walked in the order of
	// their sequences; empty where the planner needs no word. LetterSpan is followed by a
	// condition on times and a limit: → count, first and last sequence.
	// HasText and HasBytes are conditions that a column contains a parameter, byte by
	// byte, with a verb for the column.
	LetterSeqs, LetterFacets, LetterDay, BySeq, LetterSpan, HasText, HasBytes string
}

// insertMessage names the columns that Insert and its like fill.
const insertMessage = `insert into posthorn_message
  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body)`

// InsertRow are the parameters of one row of Insert.
const InsertRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// Portable are the statements that every database understands as they are. A
// dialect adds what is missing, and replaces what its database does better in
// words of its own. A question mark is a parameter.
func Portable() Statements {
	s := Statements{
		StoreID: `select value from posthorn_meta where name = 'store_id'`,

		Insert: insertMessage + ` values ` + InsertRow,

		Crashed: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack, claim)
			select id, attempt + 1, worker, claimed_at, (wake_at - claimed_at) * 1000, 'crash',
			  'its worker fell silent while holding it', '', token
			from posthorn_message where seq = ?`,
		// MySQL makes the assignments from left to right.
		Promote: `update posthorn_message
			set crashes = crashes + case when state = 2 then 1 else 0 end,
			  state = case when suspect > 0 then 3 else 0 end, token = null, worker = null, claimed_at = null
			where seq = ? and ` + waiting + ` and ` + wakes,
		NextWake: `select min(wake_at) from posthorn_message where state = 1`,
		Extend:   `update posthorn_message set wake_at = ? where seq = ? and token = ?`,
		Ack:      `delete from posthorn_message where seq = ? and ` + Standing(),
		DropLog:  `delete from posthorn_attempt where message_id = ?`,
		Postpone: `update posthorn_message
			set state = ?, due_at = ?, wake_at = ?, attempt = attempt + ?, queue = coalesce(nullif(?, ''), queue),
			  crashes = case when suspect > 0 or ? > 0 then 0 else crashes end, suspect = 0,
			  token = null, worker = null, claimed_at = null
			where seq = ? and token = ?`,
		Letter: `insert into posthorn_letter
			  (died_at, reason, class, error, fingerprint, error_type, build,
			   id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body)
			select ?, ?, ?, ?, ?, ?, ?, id, kind, queue, priority, attempt, deliveries, crashes, sent_at, header, body
			from posthorn_message where seq = ? and token = ?`,
		LogAttempt: `insert into posthorn_attempt
			  (message_id, number, worker, started_at, duration_us, class, error, stack, build)
			values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		LogTrim: `delete from posthorn_attempt where message_id = ? and seq <= (select seq from (
			  select seq from posthorn_attempt where message_id = ? order by seq desc limit 1 offset ?) old)`,
	}
	PortableGates().pass(&s)
	s.Arrive(`?`)
	operate(&s)
	suspect(&s)
	takeBack(&s)
	ask(&s)
	inspect(&s)
	revise(&s)
	transfer(&s)
	census(&s)
	groups(&s)
	audit(&s)
	bulks(&s)
	offered(&s)
	return s
}

// Arrive adds the statements that bring messages into their queues, with an expression of a parameter
// for the time at which they are due, and wake.
func (s *Statements) Arrive(due string) {
	due += `, ` + due
	s.InsertTx = insertMessage + ` select ?, ?, ?, ?, ?, ` + due + `, ?, ?, ?, ? from posthorn_meta
			where name = 'store_id' and value = ?`
	s.LetterBack = insertMessage + `
			select id, kind, queue, priority, 0, ` + due + `, sent_at, 0, header, body
			from posthorn_letter where seq = ?`
	s.LettersBack = insertMessage + `
			select id, kind, coalesce(nullif(?, ''), queue), priority, 0, ` + due + `, sent_at, 0, header, body
			from posthorn_letter where seq in`
}

// Standing is the condition that a claim stands, of a token.
func Standing() string {
	if !safety.Fencing {
		return `? <> ''`
	}
	return `token = ?`
}

// CountDelivery is the assignment by which a claim counts a delivery, after others.
func CountDelivery() string {
	if !safety.CrashCount {
		return ""
	}
	return `, deliveries = deliveries + 1`
}

// operate adds the statements of groups and of workers.
func operate(s *Statements) {
	s.Claims = `select seq, token from posthorn_message where seq in`
	s.Savepoint = `savepoint posthorn_unit`
	s.Release = `release savepoint posthorn_unit`
	s.RollbackTo = `rollback to savepoint posthorn_unit`
	s.Heartbeat = HeartbeatRow + `
			on conflict (id) do update set state = excluded.state, seen_at = excluded.seen_at,
			  handled = excluded.handled, failed = excluded.failed, rss = excluded.rss,
			  in_flight = excluded.in_flight, holds = excluded.holds`
	s.Told = `select told from posthorn_worker where id = ?`
	s.Tell = `update posthorn_worker set told = ? where id = ?`
	s.Deregister = `delete from posthorn_worker where id = ?`
	s.Workers = `select id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
			  in_flight, concurrency, coalesce(limits, ''), coalesce(holds, ''), told
			from posthorn_worker order by started_at, id`
	s.PurgeWorker = `delete from posthorn_worker where seen_at < ?`
	s.Holds = `select seq from posthorn_message where state = 2 and worker = ?`
	s.HoldsOf = `select seq, token, id, kind, attempt, deliveries, crashes, suspect, coalesce(claimed_at, 0)
			from posthorn_message where state = 2 and worker = ? and seq in`
	s.DeadBack = `update posthorn_message set state = ?, wake_at = ?, crashes = crashes + ?, suspect = ?,
			  token = null, worker = null, claimed_at = null
			where seq = ? and token = ?`
	s.DeadCount = `update posthorn_message set crashes = crashes + 1 where seq = ? and token = ?`
}

// HeartbeatRow is the first part of Heartbeat. What follows it changes a row that
// is there, and leaves alone what it has been told.
const HeartbeatRow = `insert into posthorn_worker
		  (id, host, pid, program, version, state, lists, started_at, seen_at, handled, failed, rss,
		   in_flight, concurrency, limits, holds)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// suspect adds the statements of suspects. A lease of one is found by its state,
// as any other is.
func suspect(s *Statements) {
	s.SuspectFree = `update posthorn_message
			set state = 0, suspect = 0, crashes = case when crashes < 2 then 2 else crashes end
			where seq = ? and ` + Suspected + ` and ` + wakes
	s.SuspectKeep = `update posthorn_message set wake_at = ? where ` + suspects + ` and queue = ?`
	s.SuspectBack = `update posthorn_message
			set state = 3, wake_at = ?, token = null, worker = null, claimed_at = null
			where seq = ? and token = ? and suspect > 0`
	s.Suspects = `select count(*) from posthorn_message where ` + suspects + ` and queue in`
}

// ask adds the statements of pauses and documents.
func ask(s *Statements) {
	s.Pause = PauseRow + `
			on conflict (queue) do update set reason = excluded.reason, actor = excluded.actor,
			  since_ms = excluded.since_ms, until_ms = excluded.until_ms`
	s.Resume = `delete from posthorn_pause where queue = ?`
	s.Pauses = `select queue, reason, actor, since_ms, until_ms from posthorn_pause
			where ` + inForce + ` order by queue`
	s.PausePurge = `delete from posthorn_pause where until_ms < ?`
	s.Document = `select version, body from posthorn_document where name = ?`
	s.DocumentIn = `insert into posthorn_document (name, version, body) values (?, 1, ?)`
	s.DocumentUp = `update posthorn_document set version = version + 1, body = ? where name = ? and version = ?`
}

// PauseRow is the first part of Pause.
const PauseRow = `insert into posthorn_pause (queue, reason, actor, since_ms, until_ms) values (?, ?, ?, ?, ?)`

// inspect adds the statements of dead letters and figures.
func inspect(s *Statements) {
	s.Depths = `select queue, state, count(*), min(due_at) from posthorn_message group by state, queue`
	s.LetterCounts = `select queue, count(*) from posthorn_letter where discarded_at is null group by queue`
	s.Find = `select seq, id, kind, queue, priority, state, attempt, deliveries, crashes, due_at, wake_at, sent_at,
			  case when state = 2 then claimed_at else 0 end, case when state = 2 then worker else '' end, suspect, header, body
			from posthorn_message where id = ?`
	s.Ahead = `select count(*) from posthorn_message where state = 0 and queue = ? and (priority > ?
			  or priority = ? and (due_at < ? or due_at = ? and seq < ?))`
	s.Letters, s.LettersBare = letterColumns("body"), letterColumns("''")
	s.Attempts = `select number, worker, started_at, duration_us, class, error, stack, build
			from posthorn_attempt where message_id = ? order by seq`
	s.LetterDrop = `delete from posthorn_letter where seq = ?`
	s.LetterGone = `update posthorn_letter set discarded_at = ? where seq = ? and discarded_at is null`
	s.LetterIDs = `select seq, id from posthorn_letter where seq in`
	s.LetterPurge = `select seq from posthorn_letter where died_at < ? order by died_at limit ?`
	s.AttemptsOld = `select a.seq from posthorn_attempt a
			where not exists (select 1 from posthorn_message m where m.id = a.message_id)
			  and not exists (select 1 from posthorn_letter l where l.id = a.message_id) limit ?`
	s.AttemptCut = `delete from posthorn_attempt where seq = ?`
}

// letterColumns selects what scanLetter reads.
func letterColumns(body string) string {
	return `select seq, id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, discarded_at,
			  reason, class, error, fingerprint, error_type, build, header, ` + body + `, revision from posthorn_letter`
}
