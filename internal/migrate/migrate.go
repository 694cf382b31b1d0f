// Package migrate brings a database's schema forward. Migrations are files
// NNNN_name.sql; they only go forward, each runs once, and what ran is
// remembered in the table posthorn_migration, or what a store calls it.
package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrTooNew: the database was migrated by a newer Posthorn.
var ErrTooNew = errors.New("the store's schema is newer than this program")

// A Migration is one step of the schema.
type Migration struct {
	Version   int
	Name      string
	SQL       string
	AppliedAt time.Time // zero: not applied yet
}

// Load reads the migrations of a directory, in order. Their numbers must be
// 1, 2, 3 ….
func Load(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	out := make([]Migration, 0, len(names))
	for i, name := range names {
		number, rest, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		out = append(out, Migration{Version: version, Name: rest, SQL: string(text)})
	}
	return out, nil
}

// A Conn is a connection, or a transaction on one.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Table creates the table of migrations.
const Table = `create table posthorn_migration (
  version    integer      not null primary key,
  name       varchar(100) not null,
  applied_at bigint       not null
)`
