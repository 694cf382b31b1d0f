package main

import (
	"context"
	"database/sql"
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
	// examine says what the database is, and fails if it would not keep what
	// it has committed: such figures could not be compared.
	examine func(ctx context.Context, db *sql.DB) (string, error)
	bare    func(ctx context.Context, address string) (bare, error)
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
func kinds() []kind { return []kind{sqliteKind(), postgresKind(), mariadbKind()} }

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
func (s *site) check(ctx context.Context, db *sql.DB) error {
	said, err := s.examine(ctx, db)
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
