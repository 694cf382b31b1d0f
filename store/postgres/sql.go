package postgres

import (
	"strings"

	"github.com/posthorn/posthorn/store"
)

// statements are the statements of the dialect.
func statements() store.Statements {
	s, g := store.Portable(), gates()
	s.Ask(g)
	s.Now = `select ` + clock
	s.SkipLocked = ` for update skip locked`
	s.Later = `select seq, due_at from posthorn_message where ` + g.Delayed.Through() + `
		order by due_at limit 500` + s.SkipLocked
	s.NextWake = `select min(due_at) from posthorn_message where ` + g.Delayed.Stands
	s.Look = `select ` + clock + `, (` + s.NextWake + `)`
	s.HeldBack = store.HeldBackWhere(g.Delayed.Stands + ` order by due_at`)
	s.Load = `select most, used from (` + places + `) as p (most, used, processes)`
	s.TrialCheck = `set constraints all immediate`
	s.Touched = `select 'rows', coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_xact_user_tables`
	leases(&s, g)
	horizon(&s)
	offers(&s)
	delays(&s)
	s.HasText, s.HasBytes = `strpos(%s, ?) > 0`, `position(?::bytea in %s) > 0`
	s.Held = `select 1 from posthorn_message where seq = ? and token = ? for update`
	return s
}

// gates are the gates of the dialect: delayed rows have an index by their due times. A row that is
// not delayed any more may stand there still, if a worker of an older version has made it ready.
func gates() store.Gates {
	g := store.PortableGates()
	g.Delayed = store.Gate{Stands: `delayed and state = 1`, Opens: `due_at <= ?`}
	return g
}

// leases adds the statements for leases that run out.
func leases(s *store.Statements, g store.Gates) {
	const held = `unnest(l.seqs) as h(seq) join posthorn_message m on m.seq = h.seq and m.token = l.token`
	s.Expired = ""
	s.InHand = `select l.worker, m.queue, count(*), min(m.claimed_at), max(m.claimed_at)
		from posthorn_lease l cross join lateral ` + held + ` group by l.worker, m.queue`
	s.LeasesDue = `select token from posthorn_lease where ends_at <= ? order by ends_at limit ?` + s.SkipLocked
	s.LeaseIsDue = `select 1 from posthorn_lease where ends_at <= ? limit 1`
	const these = ` where l.token in (select json_array_elements_text(?::json))`
	s.LeaseExpired = `select m.seq from posthorn_lease l cross join lateral ` + held +
		these + ` and m.` + g.Leased.Opens + ` order by m.seq limit 500`
	s.LeaseLock = `select seq from posthorn_message where state = 2 and ` + g.Leased.Opens + ` and seq in`
	s.LeaseLeft = `select l.token, (select min(m.wake_at) from ` + held + `) from posthorn_lease l` + these
	s.LeaseGone = `delete from posthorn_lease where token = ?`
	s.LeaseNext = `update posthorn_lease set ends_at = ? where token = ?`
	s.Holds = `select m.seq from posthorn_lease l cross join lateral ` + held + ` where l.worker = ?`
	s.Lock = ` for update`
}

// horizon adds what says where claims can begin, and has nothing be due before the transaction
// that brings it has begun to write: a parameter may be older. Transactions get their numbers in
// the order in which they begin to write. What a snapshot has for the next one is the one after
// the last that has ended; age says how many have begun since (PostgreSQL manual, 9.27 and 25.1). A
// statement begins before it takes its snapshot, and asks for the age after that. Messages are asked for
// one by one, by their key: a join would read all of a queue where the planner knows nothing of it yet.
func horizon(s *store.Statements) {
	s.Arrive(`greatest(?, ` + clock + `)`)
	s.CameBack = `insert into posthorn_lease (token, worker, ends_at, seqs)
		select 'returned.' || lpad(n.now::text, 15, '0') || '.' || ?::text, '', n.now + ?::bigint, array_agg(m.seq)
		from (select ` + clock + ` as now) n join posthorn_message m on m.due_at < n.now - ?::bigint
		where m.state = 0 and m.seq = any(array(select json_array_elements_text(?::json)::bigint)) group by n.now`
	s.ReadyBetween = `select due_at from posthorn_message where ` + store.Ready + ` and queue = ? and priority = ?
		and due_at >= ? and due_at < ? order by due_at, seq limit 1`
	s.Horizon = `select (extract(epoch from statement_timestamp()) * 1000)::bigint,
		  pg_snapshot_xmin(s)::text::bigint,
		  pg_snapshot_xmax(s)::text::bigint + age(pg_snapshot_xmax(s)::xid),
		  (select min((select m.due_at from posthorn_message m where m.seq = h.seq and m.queue = q.name and m.state = 0))
		    from (select ?::text as since, ?::text as name) q join posthorn_lease l on l.token >= q.since
		      cross join lateral unnest(l.seqs) as h(seq)
		    where l.token < 'returned/')
		from pg_current_snapshot() s`
}

// offers adds what idle consumers take.
func offers(s *store.Statements) {
	s.OfferIn = strings.Replace(s.OfferIn, `'[]'`, `'{}'`, 1)
	s.MayGive = `select coalesce(has_table_privilege(to_regclass('posthorn_offer'), 'update')
		and has_table_privilege(to_regclass('posthorn_message'), 'select')
		and has_table_privilege(to_regclass('posthorn_lease'), 'insert'), false)`
	s.Offered = `select ` + store.OfferedColumns + `, ` + clock + `
		from posthorn_offer o cross join lateral unnest(o.given) as g(seq) cross join lateral (
		  select * from posthorn_message m
		  where m.seq = g.seq and m.state = 2 and left(m.token, length(o.id)) = o.id limit 1) m
		where o.queue = ? and o.until_ms = ? and o.id = ?`
}

// delays has the statements that write a state, which may be that of a delayed message, write so in the
// column of the index, too. They have it as a parameter, which they name twice then.
func delays(s *store.Statements) {
	number := rebinder()
	for _, stmt := range []*string{&s.Insert, &s.InsertTx} {
		*stmt = strings.NewReplacer(
			", body)", ", body, delayed)", "$5,", "$5::smallint,", "$11)", "$11, $5::smallint = 1)",
			"$11 from", "$11, $5::smallint = 1 from").Replace(number(*stmt))
	}
	s.Postpone = strings.Replace(number(s.Postpone), "state = $1", "state = $1::smallint, delayed = $1::smallint = 1", 1)
	s.Promote = strings.Replace(s.Promote, "set ", "set delayed = false, ", 1)
}
