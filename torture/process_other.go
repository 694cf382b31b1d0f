//go:build !unix

package torture

import (
	"os"
	"os/exec"
)

// The signals by which a process is stopped and goes on; there are none here.
const (
	stopSignal     = noSignal("stop")
	continueSignal = noSignal("continue")
)

// canStop says why processes cannot be stopped here.
const canStop = "this system cannot stop a process"

// A noSignal is a signal that this system does not have.
type noSignal string

// String names it.
func (s noSignal) String() string { return string(s) }

// Signal makes it an os.Signal.
func (noSignal) Signal() {}

// apart changes nothing here.
func apart(*exec.Cmd) {}

// alive is not asked where a run has no supervisor.
func alive(*os.Process) bool { return false }
