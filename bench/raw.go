package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// claimBatch is the size of a claim in rawClaim.
const claimBatch = 500

// rawSchema is the least that a queue needs.
const rawSchema = `
create table raw (seq integer primary key, state integer not null default 0, body blob not null);
create index raw_ready on raw (seq) where state = 0;`

// A rawFile is a bare SQLite file: what the machine can do at most with this
// driver, these settings and prepared statements, on one connection.
type rawFile struct {
	begin, commit, insert, claim, remove *sql.Stmt
}

// withRaw runs fn on a fresh bare file.
func withRaw(ctx context.Context, r *rig, fn func(*rawFile) (float64, error)) (map[string]float64, error) {
	path, remove, err := r.file()
	if err != nil {
		return nil, err
	}
	defer remove()
	db, err := openPool(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	f, err := newRawFile(ctx, db)
	if err != nil {
		return nil, err
	}
	perSecond, err := fn(f)
	return map[string]float64{"rate": perSecond}, err
}

func newRawFile(ctx context.Context, db *sql.DB) (*rawFile, error) {
	if _, err := db.ExecContext(ctx, rawSchema); err != nil {
		return nil, err
	}
	f := &rawFile{}
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&f.begin, "begin immediate"},
		{&f.commit, "commit"},
		{&f.insert, "insert into raw (body) values (?)"},
		{&f.claim, `update raw set state = 1
			where seq in (select seq from raw where state = 0 order by seq limit ?) returning seq, body`},
		{&f.remove, "delete from raw where seq = ?"},
	} {
		var err error
		if *s.stmt, err = db.PrepareContext(ctx, s.text); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// transaction runs fn between begin immediate and commit. The pool has one
// connection, so that they meet the same one.
func (f *rawFile) transaction(ctx context.Context, fn func() error) error {
	if _, err := f.begin.ExecContext(ctx); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	_, err := f.commit.ExecContext(ctx)
	return err
}

// insertMany inserts n rows in one transaction.
func (f *rawFile) insertMany(ctx context.Context, n int) error {
	body := make([]byte, 200)
	return f.transaction(ctx, func() error {
		for range n {
			if _, err := f.insert.ExecContext(ctx, body); err != nil {
				return err
			}
		}
		return nil
	})
}

// repeat calls fn until the spell is over; fn does n pieces of work each time.
func repeat(spell time.Duration, n int, fn func() error) (float64, error) {
	done, began := 0, time.Now()
	for time.Since(began) < spell {
		if err := fn(); err != nil {
			return 0, err
		}
		done += n
	}
	return float64(done) / time.Since(began).Seconds(), nil
}

// rawCommits is the rate of transactions of one INSERT each.
func rawCommits(ctx context.Context, r *rig) (map[string]float64, error) {
	return withRaw(ctx, r, func(f *rawFile) (float64, error) {
		return repeat(r.spell, 1, func() error { return f.insertMany(ctx, 1) })
	})
}

// rawInsert is the rate of INSERTs in transactions of a thousand.
func rawInsert(ctx context.Context, r *rig) (map[string]float64, error) {
	return withRaw(ctx, r, func(f *rawFile) (float64, error) {
		return repeat(r.spell, batch, func() error { return f.insertMany(ctx, batch) })
	})
}

// rawClaim is the rate of claim and delete in batches, two commits a batch.
func rawClaim(ctx context.Context, r *rig) (map[string]float64, error) {
	n := max(int(80_000*r.scale)/claimBatch, 1) * claimBatch
	return withRaw(ctx, r, func(f *rawFile) (float64, error) {
		for range n / claimBatch {
			if err := f.insertMany(ctx, claimBatch); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		for range n / claimBatch {
			if err := f.claimAndRemove(ctx); err != nil {
				return 0, err
			}
		}
		return float64(n) / time.Since(began).Seconds(), nil
	})
}

func (f *rawFile) claimAndRemove(ctx context.Context) error {
	var seqs []int64
	err := f.transaction(ctx, func() (err error) {
		seqs, err = f.claimed(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if len(seqs) != claimBatch {
		return fmt.Errorf("%d rows claimed, not %d", len(seqs), claimBatch)
	}
	return f.transaction(ctx, func() error {
		for _, seq := range seqs {
			if _, err := f.remove.ExecContext(ctx, seq); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *rawFile) claimed(ctx context.Context) ([]int64, error) {
	rows, err := f.claim.QueryContext(ctx, claimBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	var seqs []int64
	for rows.Next() {
		var seq int64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, err
		}
		seqs = append(seqs, seq)
	}
	return seqs, rows.Err()
}
