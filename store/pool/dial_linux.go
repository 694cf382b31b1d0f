package pool

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// control bounds for how long the kernel waits for an acknowledgement:
// TCP_USER_TIMEOUT of tcp(7), RFC 5482. Without it, data that was sent to a host
// that has vanished is repeated for a quarter of an hour.
func control(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
