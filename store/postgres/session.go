package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/store/guard"
)

// errNotPgx: the connection is not pgx's.
var errNotPgx = errors.New("connection is not one of pgx")

// native runs fn on pgx's own connection.
func native(conn *sql.Conn, fn func(*pgx.Conn) error) error {
	return conn.Raw(func(c any) error {
		if g, ok := c.(*guard.Conn); ok {
			c = g.Raw
		}
		std, ok := c.(*stdlib.Conn)
		if !ok {
			return errNotPgx
		}
		return fn(std.Conn())
	})
}

// pipeline runs a statement for each row in one round trip.
func pipeline(ctx context.Context, conn *sql.Conn, stmt string, rows [][]any) ([]int64, error) {
	out := make([]int64, len(rows))
	err := native(conn, func(c *pgx.Conn) error {
		b := &pgx.Batch{}
		for _, args := range rows {
			b.Queue(stmt, args...)
		}
		results := c.SendBatch(ctx, b)
		for i := range rows {
			tag, err := results.Exec()
			if err != nil {
				return errors.Join(err, results.Close())
			}
			out[i] = tag.RowsAffected()
		}
		return results.Close()
	})
	return out, err
}

// lost reports whether the connection that gave err is gone or useless: what is
// not the server's answer to a statement, and what the server says last.
func lost(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return classify(err) != ""
	}
	switch pg.Code {
	case "57P01", "57P02", "57P03", "57P05", "25P03", "25006":
		return true
	}
	return pg.Code[:2] == "08" || pg.Severity == "FATAL" || pg.Severity == "PANIC"
}

// leftovers finds what a handler left in the session.
const leftovers = `select coalesce(
  (select 'advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() limit 1),
  (select 'listen ' || c from pg_listening_channels() c limit 1),
  (select 'temporary table ' || relname from pg_class where relnamespace = pg_my_temp_schema() limit 1),
  (select 'role ' || current_user where current_user <> $1 or session_user <> $1),
  (select 'cursor ' || name from pg_cursors where is_holdable limit 1),
  (select 'prepared statement ' || name from pg_prepared_statements where from_sql limit 1),
  (select 'setting ' || name from pg_settings where source = 'session' limit 1), '')`

// inspectSession says what a handler left in the session.
func inspectSession(ctx context.Context, conn *sql.Conn, user string) (dirty string, err error) {
	err = conn.QueryRowContext(ctx, leftovers, user).Scan(&dirty)
	if err != nil {
		return "", fmt.Errorf("inspect session: %w", err)
	}
	return dirty, nil
}

// refuse says why a handler must not run a statement.
func refuse(query string) string { return guard.RefuseTransactionControl(query) }
