//go:build unix

package postgres

import (
	"database/sql"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// idle is pool.Dialect.Idle. To a connection that waits, the server says nothing
// but that it ends it: whoever wrote to it then could not know whether the server
// has read it.
func idle(conn *sql.Conn) bool {
	good := true
	err := native(conn, func(c *pgx.Conn) error {
		good = silent(c.PgConn().Conn())
		return nil
	})
	return err == nil && good
}

// silent reports whether there is nothing to read, not even the end. It does not
// block.
func silent(c net.Conn) bool {
	for {
		wrapped, ok := c.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			break
		}
		c = wrapped.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	// Control, since Read would wait for pgx's own reader, which may be at work.
	err = raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err == nil && nothing
}
