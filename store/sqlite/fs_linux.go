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
	switch uint32(st.Type) { //nolint:gosec // magic numbers are 32 bits wide
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.V9FS_MAGIC:
		return fmt.Errorf("%w (type %#x)", store.ErrNetworkFS, st.Type)
	}
	return nil
}
