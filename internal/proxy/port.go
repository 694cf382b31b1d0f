package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports to choose from. They lie below those that systems give to outgoing
// connections: while a server is down, no client of it may be given the
// server's own port, for then it would connect to itself.
const (
	firstPort = 10_000
	lastPort  = 32_000
)

// FreePort returns a port of the loopback address that is free now, and that
// no outgoing connection takes.
func FreePort() (int, error) {
	l, err := listen()
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listen opens a listener on such a port.
func listen() (net.Listener, error) {
	for tries := 0; ; tries++ {
		l, err := listenAt(localAddr(firstPort + rand.IntN(lastPort-firstPort)))
		if err == nil || tries == 100 {
			return l, err
		}
	}
}

func listenAt(addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("find port: %w", err)
	}
	return l, nil
}

func localAddr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
