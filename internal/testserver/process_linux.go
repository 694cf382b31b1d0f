package testserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent lets the kernel end the process when its parent dies.
func endWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// processes lists what runs on the machine.
func processes() []status {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []status
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, ok := lookUp(pid); ok {
			all = append(all, s)
		}
	}
	return all
}

// lookUp reads /proc/pid/stat, see proc(5): the state is field 3, the parent
// field 4, the time of birth field 22. The name in field 2 may hold anything.
func lookUp(pid int) (status, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, false
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return status{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return status{member{pid, fields[19]}, parent, fields[0][0]}, err == nil
}
