//go:build unix

package supervisor

import (
	"errors"
	"os"
	"syscall"
)

// signalGroup signals every process of a group.
func signalGroup(group int, sig syscall.Signal) error {
	if err := syscall.Kill(-group, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// signalOne signals one process that has not been reaped.
func signalOne(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// groupLives reports whether a group has members left, unburied ones included.
func groupLives(group int) bool { return syscall.Kill(-group, 0) == nil }

// ending reads how a process ended.
func ending(state *os.ProcessState) Exit {
	e := Exit{Code: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal, e.CoreDumped = ws.Signal(), ws.CoreDump()
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		e.MaxRSS = usage.Maxrss * maxRSSUnit
	}
	return e
}

// ownSession is for the guardian: no signal to the supervisor's group, session
// or terminal reaches it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
