package postgres

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/safety"
	"github.com/posthorn/posthorn/store"
)

// clock is the server's clock in milliseconds since 1970.
const clock = `(extract(epoch from clock_timestamp()) * 1000)::bigint`

// A writer writes for many callers at once: what they insert by one statement,
// what they acknowledge by another one or one for each claim, and all statements in one round
// trip, which is a transaction by itself (PostgreSQL manual, 55.2.4 Pipelining).
type writer struct {
	insert, insertAlike, insertOne, insertHeld, ack, ackLot, ackAll, claim, claimOn, claimSuspect string
}

// newWriter makes the statements for tables of these names.
func newWriter(n store.Names) writer {
	remove := `with gone as (delete from posthorn_message m
		  using unnest($1::bigint[], $2::text[]) as c(seq, token) where m.seq = c.seq and m.token = c.token
		  returning m.seq, m.token, m.id)`
	if !safety.Fencing {
		remove = `with gone as (delete from posthorn_message where seq = any($1::bigint[]) returning seq, token, id)`
	}
	ready, suspect := store.Ready, gates().Suspect.Stands
	return writer{
		// In the list of a select unnest makes row for row; after from all would be kept before.
		insert: n.In(`with moment as materialized (select ` + clock + ` as now)
			insert into posthorn_message
			  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, delayed)
			select m.id, m.kind, m.queue, m.priority, (m.due > m.now)::int, m.due, m.due, m.now, m.attempt, m.header, m.body,
			  m.due > m.now
			from (select u.*, greatest(u.now + u.delay, u.at) as due from (
			  select now, unnest($1::text[]) as id, unnest($2::text[]) as kind, unnest($3::text[]) as queue,
			    unnest($4::smallint[]) as priority, unnest($5::bigint[]) as delay, unnest($6::bigint[]) as at,
			    unnest($7::int[]) as attempt, unnest($8::text[]) as header, unnest($9::bytea[]) as body
			  from moment) u) m`),
		insertAlike: n.In(`with moment as materialized (
			  select now, greatest(now + $5::bigint, $6::bigint) as due from (select ` + clock + ` as now) c)
			insert into posthorn_message
			  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, delayed)
			select unnest($1::text[]), $2::text, $3::text, $4::smallint, (due > now)::int, due, due, now, $7::int, $8::text,
			  unnest($9::bytea[]), due > now from moment`),
		insertOne: n.In(`with moment as materialized (
			  select now, greatest(now + $5::bigint, $6::bigint) as due from (select ` + clock + ` as now) c)
			insert into posthorn_message
			  (id, kind, queue, priority, state, due_at, wake_at, sent_at, attempt, header, body, delayed)
			select $1::text, $2::text, $3::text, $4::smallint, (due > now)::int, due, due, now, $7::int, $8::text, $9::bytea,
			  due > now from moment`),
		insertHeld: n.In(insertHeld()),
		ack:        n.In(remove + ` select seq, token from gone`),
		ackLot: n.In(`with gone as (delete from posthorn_message where seq = any($1) and token = $2 returning seq)
			select case when count(*) < cardinality($1::bigint[]) then coalesce(array_agg(seq), '{}') end
			from gone`),
		ackAll: n.In(remove + `, past as (delete from posthorn_attempt a using gone g where a.message_id = g.id)
			select seq, token from gone`),
		claim: claim(n, `select ctid, seq from posthorn_message where `+ready+` and queue = $4
			order by priority desc, due_at, seq limit $5 for update skip locked`),
		claimSuspect: claim(n, `select ctid, seq from posthorn_message where `+suspect+` and queue = $4
			order by priority desc, due_at, seq limit $5 for update skip locked`),
		claimOn: claim(n, `select c.ctid, c.seq from unnest($6::smallint[], $7::smallint[], $8::bigint[]) as k(high, low, due)
			cross join lateral (
			  select ctid, seq from (select ctid, seq from posthorn_message
			    where k.due is null and `+ready+` and queue = $4 and priority between k.low and k.high
			    order by priority desc, due_at, seq limit $5 for update skip locked) gap
			  union all select ctid, seq from (select ctid, seq from posthorn_message
			    where `+ready+` and queue = $4 and priority = k.low and due_at >= k.due
			    order by due_at, seq limit $5 for update skip locked) known) c limit $5`),
	}
}

// claim is a statement that claims the rows at the places that a query has locked, with
// their sequences. They are found again there, since a row cannot move while it is locked; one that
// was changed and given back just before is not, and is left for the next claim.
// The lease is made of the places, so that the rows need not be kept to be read twice.
func claim(n store.Names, places string) string {
	lease := `, lease as (
		insert into posthorn_lease (token, worker, ends_at, seqs)
		select $1, $2, (select now from moment) + $3, array_agg(seq) from place having count(*) > 0)`
	if !safety.Leases {
		lease = ""
	}
	return n.In(`with moment as materialized (select ` + clock + ` as now),
		place as materialized (` + places + `)` + lease + `
		update posthorn_message m
		set state = 2, token = $1, worker = $2, claimed_at = t.now, wake_at = t.now + $3` + store.CountDelivery() + `
		from moment t where m.ctid = any(array(select ctid from place))
		returning m.seq, m.id, m.kind, m.queue, m.priority, m.attempt, m.deliveries, m.crashes, m.due_at,
		  m.sent_at, m.header, m.body`)
}

// do is pool.Dialect.Do.
func (w writer) do(ctx context.Context, conn *sql.Conn, ws []*store.Write) error {
	b := &pgx.Batch{}
	for _, one := range ws {
		for _, stmt := range one.Before {
			b.Queue(stmt)
		}
	}
	w.queueSends(b, ws)
	w.queueAcks(b, ws)
	w.queueTakes(b, ws)
	for _, one := range ws {
		for _, q := range one.Run {
			b.Queue(q.Query, q.Args...)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return native(conn, func(c *pgx.Conn) error {
		answers := c.SendBatch(ctx, b)
		pass(ws)
		return answers.Close()
	})
}

// pass is the moment in which the server has been told, and has not answered.
func pass(ws []*store.Write) {
	for _, w := range ws {
		if len(w.Send) > 0 {
			failpoint.Pass(failpoint.MidSend)
		}
		if len(w.Ack) > 0 {
			failpoint.Pass(failpoint.MidAck)
		}
		if w.Take != nil {
			failpoint.Pass(failpoint.MidClaim)
		}
	}
}

// queueTakes adds the claims.
func (w writer) queueTakes(b *pgx.Batch, ws []*store.Write) {
	for _, one := range ws {
		t := one.Take
		if t == nil {
			continue
		}
		t.Begin()
		stmt, args := w.claim, []any{t.Token, t.Worker, t.Lease, t.Queue, t.Limit}
		switch {
		case t.Suspects:
			stmt = w.claimSuspect
		case len(t.Marks) > 0:
			stmt, args = w.claimOn, append(args, ranges(t.Marks)...)
		}
		b.Queue(stmt, args...).Query(func(rows pgx.Rows) error {
			return each(rows, func() error { return t.Row(rows) })
		})
	}
}

// ranges are the priorities of a queue, the highest first: those that have a mark,
// each from its due time, and between them all others. They are the highest and the
// lowest priority of each range, and the due times.
func ranges(marks []store.Mark) []any {
	var (
		high, low []int16
		due       []*int64
	)
	add := func(h, l int, d *int64) {
		if h >= l {
			high, low, due = append(high, int16(h)), append(low, int16(l)), append(due, d)
		}
	}
	above := math.MaxInt16
	for _, m := range marks {
		add(above, m.Priority+1, nil)
		add(m.Priority, m.Priority, &m.Due)
		above = m.Priority - 1
	}
	add(above, math.MinInt16, nil)
	return []any{high, low, due}
}

// each calls fn at each row.
func each(rows pgx.Rows, fn func() error) error {
	for rows.Next() {
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// unsent is pool.Dialect.Unsent. A server that shuts down says so before it
// commits, or not at all.
func unsent(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Severity != "FATAL" && pg.Severity != "PANIC" || pg.Code == "57P01" || pg.Code == "57P03"
	}
	return pgconn.SafeToRetry(err)
}
