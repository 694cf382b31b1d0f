package sqlite

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/store"
)

// checkFS refuses a network file system: SQLite's locks and shared memory do
// not hold there (https://www.sqlite.org/wal.html). The numbers are statfs(2)'s.
func checkFS(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil //nolint:nilerr // a directory that is not there is reported by whoever opens the file
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.V9FS_MAGIC:
		return fmt.Errorf("%w (type %#x)", store.ErrNetworkFS, st.Type)
	}
	return nil
}

// fileSystem names the file system of a directory, and says why files do not
// last there, if so.
func fileSystem(dir string) (kind, risk string, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", "", fmt.Errorf("look at file system of %s: %w", dir, err)
	}
	const memory = "it is memory, and lost when the host restarts"
	switch magic := uint32(st.Type); magic {
	case unix.TMPFS_MAGIC:
		return "tmpfs", memory, nil
	case unix.RAMFS_MAGIC:
		return "ramfs", memory, nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", "it is a container's own, and lost with the container", nil
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", "", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", "", nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", "", nil
	default:
		return fmt.Sprintf("a local file system (type %#x)", magic), "", nil
	}
}

// freeSpace is how much a user without privileges may still write.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at file system of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
