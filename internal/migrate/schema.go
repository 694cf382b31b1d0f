package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
)

// A Schema is a dialect's migrations, and how its server keeps migrators from
// each other.
type Schema struct {
	Files  fs.FS  // has the migrations in the directory migrations
	Exists string // a query → whether the table of migrations is there
	// Names writes the store's own names of tables into a statement; nil leaves
	// it as it is.
	Names func(stmt string) string
	// Alone runs fn while no other migrator is at work, in one transaction
	// where the server's schema changes can be part of it.
	Alone func(ctx context.Context, conn *sql.Conn, fn func(Conn) error) error
}

// List lists the migrations as if none was applied.
func (s Schema) List() ([]Migration, error) {
	dir, err := fs.Sub(s.Files, "migrations")
	if err != nil {
		return nil, err
	}
	ms, err := Load(dir)
	for i := range ms {
		ms[i].SQL = s.named(ms[i].SQL)
	}
	return ms, err
}

// Status lists the migrations and when each was applied. It fails with
// ErrTooNew when the database knows a migration that this program does not.
func (s Schema) Status(ctx context.Context, c Conn) ([]Migration, error) {
	ms, _, err := s.status(ctx, c)
	return ms, err
}

// Forward runs what is pending and returns how many ran. It takes no lock when
// nothing is.
func (s Schema) Forward(ctx context.Context, conn *sql.Conn) (n int, err error) {
	ms, err := s.Status(ctx, conn)
	if err != nil || !ms[len(ms)-1].AppliedAt.IsZero() {
		return 0, err
	}
	err = s.Alone(ctx, conn, func(c Conn) error {
		n, err = s.apply(ctx, c)
		return err
	})
	return n, err
}

func (s Schema) named(stmt string) string {
	if s.Names == nil {
		return stmt
	}
	return s.Names(stmt)
}

// status is Status, and whether the table of migrations is there.
func (s Schema) status(ctx context.Context, c Conn) (ms []Migration, there bool, err error) {
	if ms, err = s.List(); err != nil {
		return nil, false, err
	}
	err = query(ctx, c, s.named(s.Exists), func(scan func(...any) error) error { return scan(&there) })
	if err != nil || !there {
		return ms, there, err
	}
	err = query(ctx, c, s.named("select version, applied_at from posthorn_migration order by version"),
		func(scan func(...any) error) error {
			var version int
			var at int64
			if err := scan(&version, &at); err != nil {
				return err
			}
			if version < 1 || version > len(ms) {
				return fmt.Errorf("%w: it has migration %d, this program knows %d", ErrTooNew, version, len(ms))
			}
			ms[version-1].AppliedAt = time.UnixMilli(at)
			return nil
		})
	return ms, there, err
}

// apply runs what is pending, under the lock.
func (s Schema) apply(ctx context.Context, c Conn) (ran int, err error) {
	ms, there, err := s.status(ctx, c)
	if err != nil {
		return 0, err
	}
	if !there {
		if _, err := c.ExecContext(ctx, s.named(Table)); err != nil {
			return 0, fmt.Errorf("create table of migrations: %w", err)
		}
	}
	for _, m := range Pending(ms) {
		if _, err := c.ExecContext(ctx, m.SQL); err != nil {
			return ran, fmt.Errorf("run migration %04d_%s: %w", m.Version, m.Name, err)
		}
		failpoint.Pass(failpoint.MidMigrate)
		insert := s.named(fmt.Sprintf("insert into posthorn_migration (version, name, applied_at) values (%d, '%s', %d)",
			m.Version, m.Name, time.Now().UnixMilli()))
		if _, err := c.ExecContext(ctx, insert); err != nil {
			return ran, fmt.Errorf("note migration %04d_%s: %w", m.Version, m.Name, err)
		}
		ran++
	}
	return ran, nil
}

// query hands each row of a query to fn.
func query(ctx context.Context, c Conn, text string, fn func(scan func(...any) error) error) error {
	rows, err := c.QueryContext(ctx, text)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
	}
	return rows.Err()
}
