package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A tick says how far the log could be read: what it shows and the tick before does
// not (PgQ's rule) is cut into tickets. So a lower number that commits late is in a
// later tick, and no range waits for a transaction that is still writing.
const laneSchema = `
create table lane (seq bigserial primary key, xid xid8 not null default pg_current_xact_id(), body bytea not null);
create table tick (id bigserial primary key, snap pg_snapshot not null);
insert into tick (snap) select pg_current_snapshot();
create table ticket (id bigserial primary key, old pg_snapshot not null, new pg_snapshot not null, low bigint not null,
  high bigint not null, token text, state smallint not null default 0);
create index ticket_free on ticket (id) where state = 0;`

// rowsSchema has what Posthorn's own table has: room for the next version of a row.
const rowsSchema = `
create table lane (seq bigserial primary key, state smallint not null default 0, token text, body bytea not null)
  with (fillfactor = 45);
create index lane_ready on lane (seq) where state in (0, 1);`

// A postgresShelf is a prototype on PostgreSQL.
type postgresShelf struct {
	pgPool
	log     bool
	ticking sync.Mutex
}

func openPostgresShelf(ctx context.Context, address string, log bool) (shelf, error) {
	pool, err := openPgPool(ctx, address, 16)
	if err != nil {
		return nil, err
	}
	schema := rowsSchema
	if log {
		schema = laneSchema
	}
	if _, err := pool.native.Exec(ctx, schema); err != nil {
		return nil, errors.Join(err, pool.close())
	}
	return &postgresShelf{pgPool: pool, log: log}, nil
}

func (p *postgresShelf) put(ctx context.Context, bodies [][]byte) error {
	_, err := p.native.Exec(ctx, "insert into lane (body) select unnest($1::bytea[])", bodies)
	return err
}

// laneTick makes tickets of what has become visible since the last tick.
const laneTick = `
with last as materialized (select id, snap from tick order by id desc limit 1 for update),
now as materialized (select pg_current_snapshot() as snap),
fresh as (select l.seq, row_number() over (order by l.seq) - 1 as n from lane l, last, now
  where pg_visible_in_snapshot(l.xid, now.snap) and not pg_visible_in_snapshot(l.xid, last.snap)),
step as (insert into tick (snap) select snap from now where exists (select from fresh))
insert into ticket (old, new, low, high) select (select snap from last), (select snap from now), min(seq), max(seq)
from fresh group by n / $1::bigint order by min(seq)`

// laneTake takes the first free ticket and reads its range.
const laneTake = `
with mine as (update ticket set state = 1, token = $1 where id = (select id from ticket where state = 0
  order by id limit 1 for update skip locked) returning id, low, high, old, new)
select m.id, l.body from mine m join lane l on l.seq between m.low and m.high
  and pg_visible_in_snapshot(l.xid, m.new) and not pg_visible_in_snapshot(l.xid, m.old)`

const rowsTake = `update lane set state = 1, token = $1 where ctid = any(array(
	select ctid from lane where state = 0 order by seq limit $2 for update skip locked)) returning seq, body`

func (p *postgresShelf) take(ctx context.Context) (ticket, error) {
	if !p.log {
		return p.read(ctx, rowsTake, rand.Text(), claimBatch)
	}
	t, err := p.read(ctx, laneTake, rand.Text())
	if err != nil || len(t.bodies) > 0 || !p.ticking.TryLock() {
		return t, err
	}
	defer p.ticking.Unlock()
	_, err = p.native.Exec(ctx, laneTick, claimBatch)
	if err != nil {
		return t, err
	}
	return p.read(ctx, laneTake, rand.Text())
}

func (p *postgresShelf) read(ctx context.Context, query string, args ...any) (t ticket, err error) {
	rows, err := p.native.Query(ctx, query, args...)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&t.id, &body); err != nil {
			return t, err
		}
		t.seqs, t.bodies = append(t.seqs, t.id), append(t.bodies, body)
	}
	return t, rows.Err()
}

// settling is the statement that ends a ticket.
func (p *postgresShelf) settling(t ticket) (string, any) {
	if p.log {
		return "update ticket set state = 2 where id = $1 and state = 1", t.id
	}
	return "delete from lane where seq = any($1)", t.seqs
}

func (p *postgresShelf) finish(ctx context.Context, t ticket) error {
	stmt, arg := p.settling(t)
	_, err := p.native.Exec(context.WithoutCancel(ctx), stmt, arg)
	return err
}

func (p *postgresShelf) commit(ctx context.Context, t ticket, ns []note, queued bool) error {
	ctx = context.WithoutCancel(ctx)
	stmt, arg := p.settling(t)
	return pgx.BeginFunc(ctx, p.native, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, stmt, arg)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return fmt.Errorf("ticket %d is lost", t.id)
		}
		b := &pgx.Batch{}
		for _, n := range ns {
			if queued {
				b.Queue(effectInsertNumbered, n.N, n.Text)
				continue
			}
			if _, err := tx.Exec(ctx, effectInsertNumbered, n.N, n.Text); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, b).Close()
	})
}

func (p *postgresShelf) left(ctx context.Context) (int, error) {
	if !p.log {
		return count(ctx, p.std, "select count(*) from lane")
	}
	return count(ctx, p.std, `select (select count(*) from lane l where not pg_visible_in_snapshot(l.xid,
		(select snap from tick order by id desc limit 1)))
		+ (select coalesce(sum(high - low + 1), 0) from ticket where state < 2)`)
}
