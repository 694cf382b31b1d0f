package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
)

// A kind is a kind of store. The systems that keep their messages in it are
// measured beside each other.
type kind struct {
	name   string // in flags and JSON
	title  string // in tables
	effect string // the INSERT of the handlers that have one
	claims int    // rows that can be claimed and deleted in about a second
	notes  string // on what all its systems share, for the report
	launch func(dir string) (host, error)
	// optional: if its server is not installed, it is left out.
	optional bool
	// examine says what the database is, and fails if it would not keep what
	// it has committed: such figures could not be compared.
	examine func(ctx context.Context, address string, db *sql.DB) (string, error)
	bare    func(ctx context.Context, address string) (bare, error) // nil: no limit is measured
	// written is how many bytes the server has written to its log, or nil.
	written func(ctx context.Context, db *sql.DB) (int64, error)
	// hold holds a snapshot in a session of its own, or is nil.
	hold holding
	flow float64 // part of the messages of the works with a snapshot
}

// A host has room for databases of one kind.
type host interface {
	// fresh makes an empty database.
	fresh(ctx context.Context) (address string, err error)
	// drop removes one that nobody uses any more.
	drop(ctx context.Context, address string) error
	close() error
}

// kinds lists the stores in the order of the report.
func kinds() []kind {
	return []kind{sqliteKind(), postgresKind(), mariadbKind(), redisKind(), redisAOFKind()}
}

// effectTable is where the handlers with an INSERT write.
const effectTable = `create table if not exists effect (n integer not null, text text not null)`

// effectInsert is their INSERT, with the parameters of SQLite and MariaDB.
const effectInsert = `insert into effect (n, text) values (?, ?)`

// count runs a query for one number.
func count(ctx context.Context, db *sql.DB, query string) (int, error) {
	var n int
	err := db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

// A numbered gives names that were not used before.
type numbered struct{ last int }

func (n *numbered) next() string {
	n.last++
	return "bench_" + strconv.Itoa(n.last)
}

// A site is a host that runs, and what its databases said of themselves.
type site struct {
	kind
	host
	said string
}

// open launches the host and looks at one of its databases.
func (k kind) open(ctx context.Context, dir string) (*site, error) {
	h, err := k.launch(filepath.Join(dir, k.name))
	if err != nil {
		return nil, fmt.Errorf("launch %s: %w", k.title, err)
	}
	return &site{kind: k, host: h}, nil
}

// check proves that a database is durable.
func (s *site) check(ctx context.Context, address string, db *sql.DB) error {
	said, err := s.examine(ctx, address, db)
	if err != nil {
		return fmt.Errorf("examine %s: %w", s.title, err)
	}
	s.said = said
	return nil
}

// leave closes what was opened on a database and drops it. If the run has
// failed, that error tells more.
func (s *site) leave(ctx context.Context, address string, err error, shut func() error) error {
	left := shut()
	if left == nil {
		left = s.drop(ctx, address)
	}
	if err != nil {
		return err
	}
	return left
}

// holdSession runs statements on a connection that is kept until release.
func holdSession(
	ctx context.Context, open func() (*sql.DB, error), statements ...string,
) (release func() error, err error) {
	db, err := open()
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for _, s := range statements {
		_, err = conn.ExecContext(ctx, s)
		if err != nil {
			break
		}
	}
	release = func() error {
		_, lost := conn.ExecContext(context.WithoutCancel(ctx), "commit") // if the session is gone, nothing was held
		return errors.Join(lost, conn.Close(), db.Close())
	}
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// logged is how many bytes the server writes to its log while fn runs; 0 if it
// does not say.
func (s *site) logged(ctx context.Context, db *sql.DB, fn func() error) (int64, error) {
	if s.written == nil {
		return 0, fn()
	}
	before, err := s.written(ctx, db)
	if err != nil {
		return 0, err
	}
	if err := fn(); err != nil {
		return 0, err
	}
	after, err := s.written(ctx, db)
	return after - before, err
}
