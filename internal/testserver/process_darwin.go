package testserver

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent does nothing here: the system has no such thing. A server
// outlives a test process that is killed.
func endWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// processes lists what runs on the machine.
func processes() []status { return list("-A") }

func lookUp(pid int) (status, bool) {
	found := list("-p", strconv.Itoa(pid))
	if len(found) != 1 {
		return status{}, false
	}
	return found[0], true
}

func list(which ...string) []status {
	args := append(which, "-o", "pid=,ppid=,state=,lstart=")
	out, err := exec.CommandContext(context.Background(), "ps", args...).Output()
	if err != nil {
		return nil
	}
	var all []status
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		all = append(all, status{member{pid, strings.Join(fields[3:], " ")}, parent, fields[2][0]})
	}
	return all
}
