//go:build linux || darwin

package testserver

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// prefix begins the names of the directories that a test process makes.
const prefix = "posthorn-server-"

// lockName is a file that the directory's owner holds locked while it lives.
const lockName = "owner.lock"

// A place is a directory for a server. It is not the test's t.TempDir, because
// only the test's own user could enter that.
type place struct {
	dir  string
	lock *os.File // nil if the directory is somebody else's
}

// newPlace takes the directory that is given, or makes one.
func newPlace(o Options, who *account) (*place, error) {
	if o.Dir == "" {
		return makePlace(who, o.InMemory || o.Volatile)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("place server: %w", err)
	}
	if err := who.reaches(dir); err != nil {
		return nil, fmt.Errorf("place server: %w", err)
	}
	return &place{dir: dir}, nil
}

func makePlace(who *account, inMemory bool) (*place, error) {
	parent := os.TempDir()
	if inMemory {
		parent = cmp.Or(memory(), parent)
	}
	if who.reaches(parent) != nil {
		parent = "/tmp"
	}
	sweep(parent)
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, fmt.Errorf("place server: %w", err)
	}
	lock, err := lockPlace(dir)
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // the server's user passes through
	}
	if err != nil {
		return nil, fmt.Errorf("place server: %w", err)
	}
	return &place{dir: dir, lock: lock}, nil
}

// lockPlace marks a directory as in use. The file gets its name when it is
// locked, so that sweep never sees it otherwise.
func lockPlace(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f, 0); err != nil {
		return nil, err
	}
	return f, os.Rename(path+".new", path)
}

// lockFile waits for the lock of a file, unless how is LOCK_NB. The lock goes
// with the file, when it is closed or the process dies.
func lockFile(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|how)
		if err != syscall.EINTR {
			return err
		}
	}
}

// sweep removes the directories of test processes that could not: they were
// killed, or ran into their time limit.
func sweep(parent string) {
	locks, _ := filepath.Glob(filepath.Join(parent, prefix+"*", lockName))
	for _, path := range locks {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if lockFile(f, syscall.LOCK_NB) == nil {
			_ = (&place{dir: filepath.Dir(path)}).remove()
		}
		_ = f.Close()
	}
}

func (p *place) log() string { return filepath.Join(p.dir, "server.log") }

// leave removes the directory, if it is ours.
func (p *place) leave() error {
	if p.lock == nil {
		return nil
	}
	defer p.lock.Close()
	return p.remove()
}

// copyTree copies a directory; the copy belongs to the account.
func copyTree(from, to string, who *account) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyEntry(path, filepath.Join(to, rel), entry, who)
	})
	if err != nil {
		return fmt.Errorf("copy data directory: %w", err)
	}
	return nil
}

func copyEntry(from, to string, entry fs.DirEntry, who *account) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		err = os.Mkdir(to, info.Mode().Perm())
	case entry.Type().IsRegular():
		err = copyFile(from, to, info.Mode().Perm())
	default: // a socket or a link that the server made for itself
		return nil
	}
	if err != nil {
		return err
	}
	return who.own(to)
}

func copyFile(from, to string, mode fs.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close()
		return err
	}
	return dst.Close()
}
