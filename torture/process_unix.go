//go:build unix

package torture

import (
	"os/exec"
	"syscall"
)

// The signals by which a process is stopped and goes on, and the one that does nothing
// to a process that is there.
const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
	aliveSignal    = syscall.Signal(0)
)

// canStop says why processes cannot be stopped here; empty: they can.
const canStop = ""

// apart puts a process into a group of its own, so that a Ctrl-C reaches the one
// that started it alone.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
