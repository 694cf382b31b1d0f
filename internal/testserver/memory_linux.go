package testserver

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shm is a file system in memory, which every Linux has (shm_overview(7)); in a container
// it may be a small one.
const shm = "/dev/shm"

// room is how much of it must be free, for some hundred databases; and a container's
// memory, to which it counts, must be twice that (cgroups(7), memory.max).
const room = 6 << 30

// memory is a directory in memory that has room, or nothing.
func memory() string {
	var s unix.Statfs_t
	if unix.Statfs(shm, &s) != nil || s.Type != unix.TMPFS_MAGIC || s.Bavail*uint64(s.Bsize) < room {
		return ""
	}
	limit, _ := os.ReadFile("/sys/fs/cgroup/memory.max") // there is none outside of a group
	if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil && n < 2*room {
		return ""
	}
	if unix.Access(shm, unix.W_OK) != nil {
		return ""
	}
	return shm
}
