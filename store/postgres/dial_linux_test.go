package postgres_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/store"
)

// option reads an option of a socket.
func option(t *testing.T, socket syscall.RawConn, level, name int) (value int) {
	t.Helper()
	err := socket.Control(func(fd uintptr) {
		var err error
		if value, err = unix.GetsockoptInt(int(fd), level, name); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	return value
}

func TestAVanishedServerIsNoticedWithinHalfAMinute(t *testing.T) {
	t.Parallel()
	s := openStore(t, servers.PostgreSQL(t).DSN(), store.Options{})
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var socket syscall.RawConn
	err = conn.Raw(func(c any) (err error) {
		socket, err = c.(*stdlib.Conn).Conn().PgConn().Conn().(*net.TCPConn).SyscallConn()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if option(t, socket, unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
		t.Error("keepalive is off")
	}
	silent := option(t, socket, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) +
		option(t, socket, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)*option(t, socket, unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	if silent > 30 {
		t.Errorf("a silent connection counts as alive for %d s", silent)
	}
	if ms := option(t, socket, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); ms == 0 || ms > 30_000 {
		t.Errorf("data is repeated for %d ms", ms)
	}
}
