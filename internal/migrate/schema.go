package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
)

// A Schema is a dialect's migrations, and how its server keeps migrators from
// each other.
type Schema struct {
	Files  fs.FS  // has the migrations in the directory migrations
	Exists string // a query → whether the table of migrations is there
	// Alone runs fn while no other migrator is at work, in one transaction
	// where the server's schema changes can be part of it.
	Alone func(ctx context.Context, conn *sql.Conn, fn func(Conn) error) error
}

// Status lists the migrations and when each was applied.
func (s Schema) Status(ctx context.Context, c Conn) ([]Migration, error) {
	dir, err := fs.Sub(s.Files, "migrations")
	if err != nil {
		return nil, err
	}
	ms, err := Load(dir)
	if err != nil {
		return nil, err
	}
	there, err := s.exists(ctx, c)
	if err != nil {
		return nil, err
	}
	return Status(ctx, c, ms, there)
}

// Forward runs what is pending and returns how many ran. It takes no lock when
// nothing is.
func (s Schema) Forward(ctx context.Context, conn *sql.Conn) (n int, err error) {
	ms, err := s.Status(ctx, conn)
	if err != nil || !ms[len(ms)-1].AppliedAt.IsZero() {
		return 0, err
	}
	err = s.Alone(ctx, conn, func(c Conn) error {
		there, err := s.exists(ctx, c)
		if err != nil {
			return err
		}
		n, err = Apply(ctx, c, ms, there)
		return err
	})
	return n, err
}

// exists reports whether the table of migrations is there.
func (s Schema) exists(ctx context.Context, c Conn) (there bool, err error) {
	rows, err := c.QueryContext(ctx, s.Exists)
	if err != nil {
		return false, fmt.Errorf("look for migrations: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	for rows.Next() {
		if err := rows.Scan(&there); err != nil {
			return false, fmt.Errorf("look for migrations: %w", err)
		}
	}
	return there, rows.Err()
}
