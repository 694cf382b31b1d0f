package supervisor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRSSUnit is the unit of ru_maxrss, see getrusage(2).
const maxRSSUnit = 1024

// ownGroup makes a process the leader of a group of its own that the kernel
// kills when the thread that started it ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd returns when the process has ended, and leaves it unburied: until it
// is reaped, neither its id nor that of its group can be given to another. It
// reports whether the system could tell.
func awaitEnd(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// monotonic is CLOCK_MONOTONIC in microseconds, as RELOADING=1 wants it.
func monotonic() (int64, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, false
	}
	return ts.Nano() / 1000, true
}

// residentOf is the resident memory of a process in bytes, or 0 when it cannot
// be read. Field 2 of statm is in pages, see proc_pid_statm(5).
func residentOf(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// adopts reports whether orphans become children of this process: it is PID 1,
// or has declared itself a subreaper.
func adopts() bool {
	var subreaper int32
	at := uintptr(unsafe.Pointer(&subreaper)) //nolint:gosec // prctl(2) writes its answer there
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, at, 0, 0, 0)
	return os.Getpid() == 1 || err == nil && subreaper != 0
}

// A corpse is a dead child that nobody has buried. Its time of birth tells it
// from another with the same id.
type corpse struct {
	pid  int
	born string
}

// corpses lists the dead children of this process. In /proc/pid/stat the state
// is field 3, the parent field 4 and the time of birth field 22, see
// proc_pid_stat(5); the name in field 2 may hold anything.
func corpses() []corpse {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	self := strconv.Itoa(os.Getpid())
	var dead []corpse
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 20 || fields[0] != "Z" || fields[1] != self {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat))); err == nil {
			dead = append(dead, corpse{pid, fields[19]})
		}
	}
	return dead
}

// bury reaps a dead child.
func bury(pid int) {
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// oomFile finds the file in which the kernel counts the processes of a cgroup
// that it has killed for want of memory: memory.events of version 2, and
// memory.oom_control of version 1. It is empty when there is none.
func oomFile(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		file := ""
		switch parts[1] {
		case "":
			file = filepath.Join("/sys/fs/cgroup", parts[2], "memory.events")
		case "memory":
			file = filepath.Join("/sys/fs/cgroup/memory", parts[2], "memory.oom_control")
		}
		if _, err := os.Stat(file); file != "" && err == nil {
			return file
		}
	}
	return ""
}

// oomKills reads the counter in an oomFile.
func oomKills(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, found := strings.CutPrefix(line, "oom_kill "); found {
			kills, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return kills
		}
	}
	return 0
}
