package testserver

import (
	"fmt"
	"syscall"
)

// mount makes a directory the root of a file system in memory.
func mount(dir string, bytes int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NODEV|syscall.MS_NOSUID, fmt.Sprintf("size=%d", bytes))
}

// unmount ends it. A directory that is none is left as it is.
func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
