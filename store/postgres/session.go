package postgres

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/store"
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

// deadline is pool.Dialect.Deadline. When pgx gives a connection up, it has a deadline of its own for the last words.
func deadline(conn *sql.Conn, at time.Time) {
	_ = native(conn, func(c *pgx.Conn) error {
		if c.IsClosed() {
			return nil
		}
		return c.PgConn().Conn().SetDeadline(at)
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
	case "26000": // a prepared statement is missing
		return true
	case "57P01", "57P02", "57P03", "57P05", "25P03", "25006":
		return true
	}
	return pg.Code[:2] == "08" || pg.Severity == "FATAL" || pg.Severity == "PANIC"
}

// status is what the server has said last of the transaction: 'I' none, 'T' one,
// 'E' one that is aborted.
func status(conn *sql.Conn) (s byte) {
	_ = native(conn, func(c *pgx.Conn) error { s = c.PgConn().TxStatus(); return nil })
	return s
}

// whole reports whether there is a transaction that a commit would keep.
func whole(conn *sql.Conn) bool { return status(conn) == 'T' }

// illegible says why the text of a statement cannot be trusted to mean what it says:
// a setting changes where its strings end (PostgreSQL manual, 4.1.2.2 and 24.3.1).
// The server reports both settings with its answers.
func illegible(conn sqldriver.Conn) string {
	c, ok := conn.(*stdlib.Conn)
	if !ok {
		return errNotPgx.Error()
	}
	server := c.Conn().PgConn()
	if s := server.ParameterStatus("standard_conforming_strings"); s == "off" {
		return "with standard_conforming_strings off a text may end the handler's transaction unseen"
	}
	switch enc := server.ParameterStatus("client_encoding"); enc {
	case "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB":
		return "in the encoding " + enc + " a text may end the handler's transaction unseen"
	}
	return ""
}

// refuse says why a handler must not run a statement.
func refuse(query string, names store.Names) string {
	return cmp.Or(guard.PostgreSQL.RefuseTransactionControl(query), guard.PostgreSQL.RefuseOwnTables(query, names))
}

// refuseArgs says why a handler must not pass these arguments: pgx takes some that
// replace the text of the statement after it was checked, or that send it by the
// simple protocol, where one text may hold several statements.
func refuseArgs(args []sqldriver.NamedValue) string {
	for _, a := range args {
		switch v := a.Value.(type) {
		case pgx.NamedArgs, pgx.StrictNamedArgs:
		case pgx.QueryExecMode:
			if v == pgx.QueryExecModeSimpleProtocol {
				return "the simple protocol may end the handler's transaction"
			}
		case pgx.QueryRewriter:
			return "an argument that rewrites its statement may end the handler's transaction"
		}
	}
	return ""
}

// standing reports whether a connection is in a transaction.
func standing(conn sqldriver.Conn) bool {
	c, ok := conn.(*stdlib.Conn)
	return ok && c.Conn().PgConn().TxStatus() != 'I'
}
