package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/internal/testserver"
)

// effectInsertNumbered is effectInsert with the parameters of PostgreSQL.
const effectInsertNumbered = `insert into effect (n, text) values ($1, $2)`

func postgresKind() kind {
	return kind{
		name: "postgres", title: "PostgreSQL", effect: effectInsertNumbered, claims: 80_000,
		notes: fmt.Sprintf("All use pgx %s; the peers use it natively, by a pool of %d connections (River: %d). "+
			"Limit of the machine: as many connections as callers, arrays as parameters",
			version("github.com/jackc/pgx/v5"), peerConnections, riverConnections),
		launch: launchPostgres, examine: examinePostgres, bare: openBarePostgres,
		written: walOfPostgres, hold: holdPostgres, flow: 1,
	}
}

func launchPostgres(dir string) (host, error) {
	s, err := startServer(dir, testserver.PostgreSQL, map[string]string{
		"max_connections": connections, "shared_buffers": "2GB",
		"max_wal_size": "8GB", "checkpoint_timeout": "30min", // no checkpoint within a run
	})
	if err != nil {
		return nil, err
	}
	s.dropping = "drop database %s with (force)"
	s.addressOf = func(s *testserver.Server, database string) string { return s.DSN(s.Superuser(), database) }
	return s, nil
}

func examinePostgres(ctx context.Context, _ string, db *sql.DB) (string, error) {
	var version, sync, commit, pages, buffers string
	err := db.QueryRowContext(ctx, `select current_setting('server_version'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('full_page_writes'), current_setting('shared_buffers')`,
	).Scan(&version, &sync, &commit, &pages, &buffers)
	if err != nil {
		return "", err
	}
	if sync != "on" || commit != "on" || pages != "on" {
		return "", fmt.Errorf("fsync %s, synchronous_commit %s, full_page_writes %s: want on", sync, commit, pages)
	}
	return fmt.Sprintf("%s, `fsync=on`, `synchronous_commit=on`, `full_page_writes=on`, `shared_buffers=%s`",
		version, buffers), nil
}

// peerConnections is the size of a peer's pool: each of the most callers has a
// connection, with which gue and Watermill are best.
const peerConnections = 64

// A pgPool is the pool of a peer, and the same one under database/sql.
type pgPool struct {
	native *pgxpool.Pool
	std    *sql.DB
}

func openPgPool(ctx context.Context, address string, size int32) (pgPool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return pgPool{}, err
	}
	config.MaxConns = size
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return pgPool{}, err
	}
	return pgPool{native: pool, std: stdlib.OpenDBFromPool(pool)}, nil
}

func (p pgPool) db() *sql.DB { return p.std }

func (p pgPool) close() error {
	err := p.std.Close()
	p.native.Close()
	return err
}

// walOfPostgres is the position in the write-ahead log of the whole server.
func walOfPostgres(ctx context.Context, db *sql.DB) (int64, error) {
	n, err := count(ctx, db, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
	return int64(n), err
}

// holdPostgres leaves a transaction open that has taken its snapshot: no row
// that is deleted from now on can be removed before it ends.
func holdPostgres(ctx context.Context, address string) (func() error, error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "begin isolation level repeatable read; select count(*) from pg_class")
	release := func() error {
		ctx := context.WithoutCancel(ctx)
		_, lost := conn.Exec(ctx, "commit") // if the transaction is gone, nothing was held
		return errors.Join(lost, conn.Close(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}
