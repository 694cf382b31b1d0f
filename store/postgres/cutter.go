package postgres

import (
	sqldriver "database/sql/driver"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/posthorn/posthorn/store/guard"
)

// A hangUp ends the statement that runs on a connection, as pgx does when a context ends: what it
// waits for does not come in time. pgx gives the connection up then.
type hangUp struct {
	conn *pgx.Conn
	wire net.Conn
}

// cutter is what ends the statements of a driver's connection.
func cutter(conn sqldriver.Conn) guard.Cutter {
	c, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil
	}
	return hangUp{c.Conn(), c.Conn().PgConn().Conn()}
}

// Cut lets every wait end. A closed connection needs none.
func (h hangUp) Cut() { _ = h.wire.SetDeadline(time.Unix(1, 0)) }

// Mend lets them last again, where the statement had just ended. One that pgx has given up has another
// deadline, by which it says good-bye to the server.
func (h hangUp) Mend() {
	if !h.conn.IsClosed() {
		_ = h.wire.SetDeadline(time.Time{})
	}
}
