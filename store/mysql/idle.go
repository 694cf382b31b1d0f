package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"

	"github.com/posthorn/posthorn/store"
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
	if number(err) == 0 {
		return errors.Is(err, sqldriver.ErrBadConn)
	}
	switch Fault(err) {
	case store.FaultShutdown, store.FaultConnectionLost, store.FaultIdleTimeout, store.FaultStorage:
		return false
	}
	return true
}
