package main

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

const bareFileSchema = `
create table raw (seq integer primary key, state integer not null default 0, body blob not null);
create index raw_ready on raw (seq) where state = 0;`

// A bareFile is the bare table in an SQLite file, with one connection.
type bareFile struct {
	mu                               sync.Mutex // one transaction at a time
	pool                             *sql.DB
	begin, commit, put, mark, delete *sql.Stmt
}

func openBareFile(ctx context.Context, address string) (bare, error) {
	db, err := openPool(address)
	if err != nil {
		return nil, err
	}
	f := &bareFile{pool: db}
	if err := f.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

func (f *bareFile) prepare(ctx context.Context) error {
	if _, err := f.pool.ExecContext(ctx, bareFileSchema); err != nil {
		return err
	}
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&f.begin, "begin immediate"},
		{&f.commit, "commit"},
		{&f.put, "insert into raw (body) values (?)"},
		{&f.mark, `update raw set state = 1
			where seq in (select seq from raw where state = 0 order by seq limit ?) returning seq, body`},
		{&f.delete, "delete from raw where seq = ?"},
	} {
		var err error
		if *s.stmt, err = f.pool.PrepareContext(ctx, s.text); err != nil {
			return err
		}
	}
	return nil
}

// transaction runs fn between begin immediate and commit. The pool has one
// connection, so that they meet the same one.
func (f *bareFile) transaction(ctx context.Context, fn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin.ExecContext(ctx); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	_, err := f.commit.ExecContext(ctx)
	return err
}

func (f *bareFile) insert(ctx context.Context, n int) error {
	body := make([]byte, 200)
	return f.transaction(ctx, func() error {
		for range n {
			if _, err := f.put.ExecContext(ctx, body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *bareFile) claim(ctx context.Context, n int) (seqs []int64, err error) {
	err = f.transaction(ctx, func() error {
		rows, err := f.mark.QueryContext(ctx, n)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // readClaimed tells what matters
		seqs, err = readClaimed(rows)
		return err
	})
	return seqs, err
}

func (f *bareFile) take(ctx context.Context) error {
	seqs, err := f.claim(ctx, 1)
	return taken(err, len(seqs))
}

func (f *bareFile) remove(ctx context.Context, seqs []int64) error {
	return f.transaction(ctx, func() error {
		for _, seq := range seqs {
			if _, err := f.delete.ExecContext(ctx, seq); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *bareFile) db() *sql.DB  { return f.pool }
func (f *bareFile) close() error { return f.pool.Close() }
