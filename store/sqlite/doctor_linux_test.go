package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/store"
)

func TestAStoreInMemoryIsAWarning(t *testing.T) {
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skip("there is no file system in memory")
	}
	dir, err := os.MkdirTemp("/dev/shm", "posthorn")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := open(t, filepath.Join(dir, "store.db"))
	examine(t, s).want(t, "SQLITE-FILESYSTEM", store.LevelWarning, "tmpfs")
}

func TestADiskThatIsNearlyFullIsFound(t *testing.T) {
	for size, level := range map[string]store.Level{"16m": store.LevelError, "200m": store.LevelWarning} {
		dir := t.TempDir()
		err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			t.Skip("a small disk needs the right to mount one")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		s := open(t, filepath.Join(dir, "store.db"))
		examine(t, s).want(t, "SQLITE-DISK", level, "free")
	}
}
