package pool

import (
	"context"
	"database/sql"
)

// OnConn runs fn on one connection of db, and closes db.
func OnConn(ctx context.Context, db *sql.DB, fn func(*sql.Conn) error) error {
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return fn(conn)
}
