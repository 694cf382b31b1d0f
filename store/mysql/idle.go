package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"

	"github.com/posthorn/posthorn/store/guard"
)

// idle is pool.Dialect.Idle. The driver looks whether the server has closed a connection: what is
// sent on one that is closed would have an unknown outcome where the commit goes with it. Nothing does
// on those for handlers.
func idle(conn *sql.Conn) bool {
	var gone error
	err := conn.Raw(func(c any) error {
		if _, handlers := c.(*guard.Conn); handlers {
			return nil
		}
		if own, ok := c.(sqldriver.SessionResetter); ok {
			gone = own.ResetSession(context.Background())
		}
		return nil // an error here would have Raw wait for all that uses the connection
	})
	return err == nil && gone == nil
}

// unsent is pool.Dialect.Unsent. The server runs nothing after a statement that it refuses, so
// what was to be committed is not, unless the commit itself may be what it speaks of.
func unsent(err error) bool {
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		switch refused.Number {
		case shutdown, commitFailed, connectionKilled, sessionKilled:
			return false
		}
		return true
	}
	return errors.Is(err, sqldriver.ErrBadConn)
}

// Errors that may be the commit's: the server stops, the commit failed in an engine, the connection or
// the session was ended by somebody.
const (
	shutdown         = 1053
	commitFailed     = 1180
	connectionKilled = 1927
	sessionKilled    = 3169
)
