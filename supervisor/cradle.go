package supervisor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A cradle starts all processes from one thread. The kernel takes the end of
// the thread that started a child for the death of its parent, and kills the
// child; so this thread stays as long as there are children.
type cradle struct{ births chan birth }

// A birth is one process to start.
type birth struct {
	path string
	argv []string
	attr *os.ProcAttr
	done chan<- delivery
}

// A delivery is the result of a birth.
type delivery struct {
	process *os.Process
	err     error
}

func newCradle() cradle { return cradle{births: make(chan birth)} }

// run starts processes until the cradle is closed.
func (c cradle) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b := range c.births {
		p, err := os.StartProcess(b.path, b.argv, b.attr)
		b.done <- delivery{p, err}
	}
}

// start starts a process.
func (c cradle) start(argv []string, attr *os.ProcAttr) (*os.Process, error) {
	path, err := executable(argv[0], attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	done := make(chan delivery, 1)
	c.births <- birth{path: path, argv: argv, attr: attr, done: done}
	d := <-done
	if d.err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], d.err)
	}
	return d.process, nil
}

// executable finds a command by the PATH that its process will have, which need
// not be ours.
func executable(name string, attr *os.ProcAttr) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	path := ""
	for _, pair := range attr.Env {
		if value, ok := strings.CutPrefix(pair, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // what stands where the process happens to run is not meant
		}
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("it is in no directory of PATH: %w", fs.ErrNotExist)
}
