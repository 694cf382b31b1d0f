package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"sync"
)

// What is not done is the log beyond the last ticket, and the tickets that are open.
const fileShelfSchema = `
create table lane (seq integer primary key, state integer not null default 0, token text, body blob not null);
create table ticket (id integer primary key, low integer not null, high integer not null, token text not null,
  state integer not null);`

// A fileShelf is a prototype in an SQLite file: one connection, and one transaction
// at a time.
type fileShelf struct {
	mu    sync.Mutex
	pool  *sql.DB
	log   bool // else rows are claimed and deleted
	stmts map[string]*sql.Stmt
}

func openFileShelf(ctx context.Context, address string, log bool) (shelf, error) {
	db, err := openPool(address)
	if err != nil {
		return nil, err
	}
	schema := fileShelfSchema
	if !log { // a log has no index but its key
		schema += `create index lane_ready on lane (seq) where state = 0;`
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &fileShelf{pool: db, log: log, stmts: map[string]*sql.Stmt{}}, nil
}

// exec runs a statement, prepared once. The mutex is held.
func (f *fileShelf) exec(ctx context.Context, query string, args ...any) (int64, error) {
	s, err := f.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (f *fileShelf) prepare(ctx context.Context, query string) (s *sql.Stmt, err error) {
	if s = f.stmts[query]; s == nil {
		s, err = f.pool.PrepareContext(ctx, query)
		f.stmts[query] = s
	}
	return s, err
}

// transaction runs fn between begin immediate and commit.
func (f *fileShelf) transaction(ctx context.Context, fn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	if _, err := f.exec(ctx, "begin immediate"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		_, lost := f.exec(ctx, "rollback")
		return errors.Join(err, lost)
	}
	_, err := f.exec(ctx, "commit")
	return err
}

func (f *fileShelf) put(ctx context.Context, bodies [][]byte) error {
	return f.transaction(ctx, func() error {
		for _, body := range bodies {
			if _, err := f.exec(ctx, "insert into lane (body) values (?)", body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *fileShelf) take(ctx context.Context) (t ticket, err error) {
	token := rand.Text()
	err = f.transaction(ctx, func() error {
		if !f.log {
			return f.read(ctx, &t, `update lane set state = 1, token = ? where seq in
				(select seq from lane where state = 0 order by seq limit ?) returning seq, body`, token, claimBatch)
		}
		n, err := f.exec(ctx, `insert into ticket (low, high, token, state) select coalesce(last, 0) + 1,
			min(top, coalesce(last, 0) + ?), ?, 1
			from (select (select high from ticket order by id desc limit 1) as last, (select max(seq) from lane) as top)
			where top > coalesce(last, 0)`, claimBatch, token)
		if err != nil || n == 0 {
			return err
		}
		return f.read(ctx, &t, `select t.id, body from (select * from ticket order by id desc limit 1) t
			join lane on seq between t.low and t.high`)
	})
	return t, err
}

// read fills a ticket.
func (f *fileShelf) read(ctx context.Context, t *ticket, query string, args ...any) error {
	s, err := f.prepare(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&t.id, &body); err != nil {
			return err
		}
		t.seqs, t.bodies = append(t.seqs, t.id), append(t.bodies, body)
	}
	return rows.Err()
}

// settle ends a ticket.
func (f *fileShelf) settle(ctx context.Context, t ticket) error {
	if !f.log {
		for _, seq := range t.seqs {
			if _, err := f.exec(ctx, "delete from lane where seq = ?", seq); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := f.exec(ctx, "update ticket set state = 2 where id = ? and state = 1", t.id)
	return err
}

func (f *fileShelf) finish(ctx context.Context, t ticket) error {
	return f.transaction(ctx, func() error { return f.settle(ctx, t) })
}

func (f *fileShelf) commit(ctx context.Context, t ticket, ns []note, _ bool) error {
	return f.transaction(ctx, func() error {
		if err := f.settle(ctx, t); err != nil {
			return err
		}
		for _, n := range ns {
			if _, err := f.exec(ctx, effectInsert, n.N, n.Text); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *fileShelf) left(ctx context.Context) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.log {
		return count(ctx, f.pool, "select count(*) from lane")
	}
	return count(ctx, f.pool, `select (select count(*) from lane where seq > (select coalesce(max(high), 0) from ticket))
		+ (select coalesce(sum(high - low + 1), 0) from ticket where state = 1)`)
}

func (f *fileShelf) db() *sql.DB  { return f.pool }
func (f *fileShelf) close() error { return f.pool.Close() }
