package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// errHangs is the error of a place that takes no lines and gives no error.
var errHangs = errors.New("the place for the lines hangs")

// Logs say where the lines of the processes go.
type Logs struct {
	Dir  string        // NAME.log and NAME.err.log are kept here; empty means the console
	Size int64         // a file is put aside at so many bytes; default 16 MiB
	Age  time.Duration // and at this age; 0 means never
	Keep int           // so many files are kept besides the current one; default 5
}

// filled sets the defaults.
func (l Logs) filled() Logs {
	l.Size, l.Keep = cmp.Or(l.Size, 16<<20), cmp.Or(l.Keep, 5)
	return l
}

// A rotator writes lines to a file, which it puts aside when it is full or old:
// file.1 is the youngest of those. It is used by one goroutine.
type rotator struct {
	path string
	logs Logs
	now  func() time.Time

	file *os.File
	size int64
	born time.Time
}

// Write appends lines. After an error it begins anew: the next may succeed.
func (r *rotator) Write(p []byte) (int, error) {
	if err := r.prepare(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	if err != nil {
		return n, errors.Join(err, r.Close())
	}
	return n, nil
}

// prepare opens the file, and puts a full or old one aside.
func (r *rotator) prepare(more int64) error {
	if r.file == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	full := r.size > 0 && r.size+more > r.logs.Size
	old := r.size > 0 && r.logs.Age > 0 && r.now().Sub(r.born) >= r.logs.Age
	if !full && !old {
		return nil
	}
	if err := errors.Join(r.Close(), r.shift()); err != nil {
		return err
	}
	return r.open()
}

func (r *rotator) open() error {
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	r.file, r.size, r.born = f, info.Size(), r.now()
	if r.size > 0 {
		r.born = info.ModTime() // the time of birth cannot be known everywhere
	}
	return nil
}

// shift renames file to file.1, file.1 to file.2 and so on; the last is lost.
func (r *rotator) shift() error {
	for i := r.logs.Keep; i > 0; i-- {
		from := r.path
		if i > 1 {
			from += "." + strconv.Itoa(i-1)
		}
		if err := os.Rename(from, r.path+"."+strconv.Itoa(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put log aside: %w", err)
		}
	}
	return nil
}

// Close closes the file; the next line opens it again.
func (r *rotator) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.size = nil, 0
	return err
}
