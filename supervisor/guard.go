package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Guard is the life of a guardian. It reads which process groups live, a line
// "+ID" or "-ID" each, and when its input ends, it kills those that are left:
// the supervisor that wrote the lines is dead then, however it died. A line
// "=DIR" names the directory of its sockets, which is removed. Guard returns when
// all that is gone.
//
// It is run by a process of its own, in a session of its own, which ignores the
// signals that end a supervisor; see Options.Guardian.
func Guard(in io.Reader) error {
	groups, sockets := map[int]bool{}, ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if len(line) < 2 {
			continue
		}
		if dir, found := strings.CutPrefix(line, "="); found && strings.HasPrefix(filepath.Base(dir), socketsPrefix) {
			sockets = dir
			continue
		}
		id, err := strconv.Atoi(line[1:])
		if err != nil || id <= 1 { // -1 would be everybody
			continue
		}
		if line[0] == '+' {
			groups[id] = true
		} else {
			delete(groups, id)
		}
	}
	for id := range groups {
		if err := killGroup(id); err != nil {
			return fmt.Errorf("kill process group %d: %w", id, err)
		}
	}
	if sockets != "" {
		_ = os.RemoveAll(sockets) // it is empty of meaning, and not worth a word
	}
	return lines.Err()
}

// killGroup kills a group and waits, for a bounded time, until it is gone.
func killGroup(id int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range goneWithin / (5 * time.Millisecond) {
		if err := signalGroup(id, syscall.SIGKILL); err != nil {
			return err
		}
		if !groupLives(id) {
			return nil
		}
		<-tick.C
	}
	return nil
}

// goneWithin bounds the wait for processes that were killed: one that hangs in
// the kernel ends when it can.
const goneWithin = 2 * time.Second

// guardWithin bounds the wait for a guardian that does not read.
const guardWithin = time.Second

// A warden keeps a guardian that knows all groups. Without a command it does
// nothing.
type warden struct {
	command []string
	env     []string
	cradle  cradle
	log     *slog.Logger

	sockets string // the directory to be removed

	mu      sync.Mutex
	groups  map[int]bool
	process *os.Process
	pipe    *os.File
	closed  bool // no other is started any more
}

func newWarden(o Options, c cradle) *warden {
	return &warden{command: o.Guardian, env: o.GuardianEnv, cradle: c, log: o.Log, groups: map[int]bool{}}
}

// open starts the guardian.
func (w *warden) open(sockets string) error {
	w.sockets = sockets
	if len(w.command) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.start()
}

func (w *warden) start() error {
	r, pipe, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	defer func() { _ = r.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		_ = pipe.Close()
		return fmt.Errorf("start guardian: %w", err)
	}
	defer func() { _ = null.Close() }()
	w.process, err = w.cradle.start(w.command, &os.ProcAttr{
		Env: append([]string{}, w.env...), Files: []*os.File{r, null, null}, Sys: ownSession(),
	})
	if err != nil {
		_ = pipe.Close()
		return fmt.Errorf("start guardian: %w", err)
	}
	w.pipe = pipe
	if err := w.write("=" + w.sockets); err != nil {
		return err
	}
	for id := range w.groups {
		if err := w.write(groupLine('+', id)); err != nil {
			return err
		}
	}
	return nil
}

// write tells the guardian of a group.
func (w *warden) write(line string) error {
	if err := w.pipe.SetWriteDeadline(time.Now().Add(guardWithin)); err != nil {
		return fmt.Errorf("tell guardian: %w", err)
	}
	if _, err := w.pipe.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("tell guardian: %w", err)
	}
	return nil
}

// know tells the guardian that a group lives.
func (w *warden) know(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups[id] = true
	w.tell(groupLine('+', id))
}

// forget tells the guardian that a group is gone. It must be told before the
// group's id is free for others.
func (w *warden) forget(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.groups, id)
	w.tell(groupLine('-', id))
}

func groupLine(sign byte, id int) string { return fmt.Sprintf("%c%d", sign, id) }

// check finds out whether the guardian lives: it ignores an empty line.
func (w *warden) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell("")
}

// tell replaces a guardian that has died.
func (w *warden) tell(line string) {
	if len(w.command) == 0 || w.closed {
		return
	}
	if w.pipe != nil && w.write(line) == nil {
		return
	}
	w.log.Warn("guardian lost: it is replaced")
	w.dismiss()
	if err := w.start(); err != nil {
		w.log.Error("no guardian: processes may outlive a killed supervisor", "error", err)
	}
}

// dismiss ends a guardian that does not answer. It must not kill anybody, so it
// is killed before its input ends.
func (w *warden) dismiss() {
	if w.pipe != nil {
		_ = w.process.Kill()
		w.bury()
	}
}

// bury ends the guardian, and waits for its end.
func (w *warden) bury() {
	if w.pipe != nil {
		_ = w.pipe.Close()
		_, _ = w.process.Wait()
	}
	w.pipe = nil
}

// isOurs reports whether a process is the guardian.
func (w *warden) isOurs(pid int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pipe != nil && w.process.Pid == pid
}

// close ends the guardian for good.
func (w *warden) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.bury()
}
