package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
)

// idle is pool.Dialect.Idle. The driver looks whether the server has closed a connection when it is
// used again: what is sent on one that is closed would have an unknown outcome, since the commit goes with it.
func idle(conn *sql.Conn) bool {
	return conn.Raw(func(c any) error {
		if own, ok := c.(sqldriver.SessionResetter); ok {
			return own.ResetSession(context.Background())
		}
		return nil // a connection for handlers, which sends nothing together with a commit
	}) == nil
}

// unsent is pool.Dialect.Unsent.
func unsent(err error) bool { return errors.Is(err, sqldriver.ErrBadConn) }
