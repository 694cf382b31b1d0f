//go:build unix

package torture

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// The signals by which a process is stopped and goes on.
const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)

// canStop says why processes cannot be stopped here; empty: they can.
const canStop = ""

// apart puts a process into a group of its own, so that a Ctrl-C reaches the one
// that started it alone.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// alive reports whether a process runs. One that only waits to be reaped, by an init
// that takes its time, does not, see proc_pid_stat(5).
func alive(p *os.Process) bool {
	if p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/stat")
	return err != nil || !bytes.Contains(text, []byte(") Z "))
}
