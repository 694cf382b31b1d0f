package monitor

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// freeSpace is how much a user without privileges may still write, in bytes.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at file system of %s: %w", dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	return int64(min(free, math.MaxInt64)), nil
}
