//go:build unix

package flight

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile fills the file and maps it into memory, shared with the kernel. The bytes
// are written, not just reserved: a page that finds no room on a full disk when it
// is first touched would kill the process.
func mapFile(f *os.File, size int) ([]byte, error) {
	if _, err := f.Write(make([]byte, size)); err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func unmapFile(mem []byte) error { return unix.Munmap(mem) }
