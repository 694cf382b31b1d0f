package demo

import "syscall"

// dieWithParent makes a worker end with the demo, however it ends: prctl(2),
// PR_SET_PDEATHSIG.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
