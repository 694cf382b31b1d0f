//go:build !linux

package pool

import "syscall"

// control does nothing: keepalive has to do.
func control(string, string, syscall.RawConn) error { return nil }
