package pool

import (
	"context"
	"net"
	"time"
)

// A connection whose other end has vanished is found within half a minute: one
// that is silent by keepalive, after idle + count × interval, and one with data
// on the way by the user timeout, where the system has it.
const (
	keepIdle     = 10 * time.Second
	keepInterval = 5 * time.Second
	keepCount    = 3
	userTimeout  = 20 * time.Second
)

// Dial opens a connection to a server's host. It bounds neither itself nor the
// greeting that follows: the context does.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount},
		Control:         control,
	}
	return d.DialContext(ctx, network, addr)
}
