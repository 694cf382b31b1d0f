package testserver

import "golang.org/x/sys/unix"

// shm is a file system in memory, which every Linux has (shm_overview(7)); in a container
// it may be a small one.
const shm = "/dev/shm"

// room is how much of it must be free: some hundred databases.
const room = 6 << 30

// memory is a directory in memory that has room, or nothing.
func memory() string {
	var s unix.Statfs_t
	if unix.Statfs(shm, &s) != nil || s.Type != unix.TMPFS_MAGIC || s.Bavail*uint64(s.Bsize) < room {
		return ""
	}
	if unix.Access(shm, unix.W_OK) != nil {
		return ""
	}
	return shm
}
