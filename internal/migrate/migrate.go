// Package migrate brings a database's schema forward. Migrations are files
// NNNN_name.sql; they only go forward, each runs once, and what ran is
// remembered in the table posthorn_migration.
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

// Status fills in when each migration was applied. exists says whether the
// table of migrations is there; the dialect knows how to ask. It fails with
// ErrTooNew when the database knows a migration that is not in ms.
func Status(ctx context.Context, c Conn, ms []Migration, exists bool) ([]Migration, error) {
	out := slices.Clone(ms)
	if !exists {
		return out, nil
	}
	rows, err := c.QueryContext(ctx, "select version, applied_at from posthorn_migration order by version")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var version int
		var at int64
		if err := rows.Scan(&version, &at); err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		if version < 1 || version > len(out) {
			return nil, fmt.Errorf("%w: it has migration %d, this program knows %d", ErrTooNew, version, len(out))
		}
		out[version-1].AppliedAt = time.UnixMilli(at)
	}
	return out, rows.Err()
}

// Apply runs what is pending, in the caller's transaction, which holds a lock
// against other migrators. It returns how many ran.
func Apply(ctx context.Context, c Conn, ms []Migration, exists bool) (int, error) {
	status, err := Status(ctx, c, ms, exists)
	if err != nil {
		return 0, err
	}
	if !exists {
		if _, err := c.ExecContext(ctx, Table); err != nil {
			return 0, fmt.Errorf("create table of migrations: %w", err)
		}
	}
	ran := 0
	for _, m := range status {
		if !m.AppliedAt.IsZero() {
			continue
		}
		if _, err := c.ExecContext(ctx, m.SQL); err != nil {
			return ran, fmt.Errorf("run migration %04d_%s: %w", m.Version, m.Name, err)
		}
		insert := fmt.Sprintf("insert into posthorn_migration (version, name, applied_at) values (%d, '%s', %d)",
			m.Version, m.Name, time.Now().UnixMilli())
		if _, err := c.ExecContext(ctx, insert); err != nil {
			return ran, fmt.Errorf("note migration %04d_%s: %w", m.Version, m.Name, err)
		}
		ran++
	}
	return ran, nil
}

// Table creates the table of migrations.
const Table = `create table posthorn_migration (
  version    integer      not null primary key,
  name       varchar(100) not null,
  applied_at bigint       not null
)`
