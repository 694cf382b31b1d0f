package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
)

// A barePostgres is the bare table on PostgreSQL.
type barePostgres struct{ pgPool }

func openBarePostgres(ctx context.Context, address string) (bare, error) {
	pool, err := openPgPool(ctx, address, peerConnections)
	if err != nil {
		return nil, err
	}
	_, err = pool.native.Exec(ctx, `
		create table raw (seq bigserial primary key, state smallint not null default 0, body bytea not null);
		create index raw_ready on raw (seq) where state = 0`)
	if err != nil {
		return nil, errors.Join(err, pool.close())
	}
	return barePostgres{pool}, nil
}

func (p barePostgres) insert(ctx context.Context, n int) error {
	bodies, body := make([][]byte, n), make([]byte, 200)
	for i := range bodies {
		bodies[i] = body
	}
	_, err := p.native.Exec(ctx, "insert into raw (body) select unnest($1::bytea[])", bodies)
	return err
}

func (p barePostgres) claim(ctx context.Context, n int) ([]int64, error) {
	rows, err := p.native.Query(ctx, `update raw set state = 1 where seq = any(array(
		select seq from raw where state = 0 order by seq limit $1 for update skip locked)) returning seq, body`, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return readClaimed(rows)
}

func (p barePostgres) take(ctx context.Context) error {
	seqs, err := p.claim(ctx, 1)
	return taken(err, len(seqs))
}

func (p barePostgres) remove(ctx context.Context, seqs []int64) error {
	_, err := p.native.Exec(ctx, "delete from raw where seq = any($1)", seqs)
	return err
}

// A bareMariaDB is the bare table on MariaDB.
type bareMariaDB struct{ pool *sql.DB }

func openBareMariaDB(ctx context.Context, address string) (bare, error) {
	db, err := openMariaDBPool(address, peerConnections)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `create table raw (seq bigint primary key auto_increment,
		state tinyint not null default 0, body varbinary(1000) not null, key raw_ready (state, seq)) engine=innodb`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return bareMariaDB{db}, nil
}

func (m bareMariaDB) insert(ctx context.Context, n int) error {
	args, body := make([]any, n), bytes.Repeat([]byte("x"), 200)
	for i := range args {
		args[i] = body
	}
	_, err := m.pool.ExecContext(ctx, "insert into raw (body) values "+list("(?)", n), args...)
	return err
}

func (m bareMariaDB) claim(ctx context.Context, n int) (seqs []int64, err error) {
	err = inTx(ctx, m.pool, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx,
			"select seq, body from raw where state = 0 order by seq limit ? for update skip locked", n)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // readClaimed tells what matters
		if seqs, err = readClaimed(rows); err != nil || len(seqs) == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, "update raw set state = 1 where seq in ("+list("?", len(seqs))+")", anys(seqs)...)
		return err
	})
	return seqs, err
}

// take reads nothing: MariaDB's UPDATE returns no rows.
func (m bareMariaDB) take(ctx context.Context) error {
	res, err := m.pool.ExecContext(ctx, "update raw set state = 1 where state = 0 order by seq limit 1")
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	return taken(err, int(n))
}

func (m bareMariaDB) remove(ctx context.Context, seqs []int64) error {
	_, err := m.pool.ExecContext(ctx, "delete from raw where seq in ("+list("?", len(seqs))+")", anys(seqs)...)
	return err
}

func (m bareMariaDB) db() *sql.DB  { return m.pool }
func (m bareMariaDB) close() error { return m.pool.Close() }

// list repeats a text n times, with commas.
func list(text string, n int) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }

func anys(seqs []int64) []any {
	args := make([]any, len(seqs))
	for i, seq := range seqs {
		args[i] = seq
	}
	return args
}
