//go:build linux || darwin

package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// endWithin bounds the death of processes that were killed.
const endWithin = 20 * time.Second

// A member is one process of a server. A pid alone may be given to another
// process later; with the time of its birth it is unique.
type member struct {
	pid  int
	born string
}

// status is what the system says of a process.
type status struct {
	member
	parent int
	state  byte // T is stopped, Z is dead but not yet buried
}

// A process is the first process of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of its end, once done is closed
	wg   sync.WaitGroup
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	p.wg.Go(func() {
		// The kernel takes the end of the thread that started a child for the
		// parent's death, so this thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	})
	if err := <-started; err != nil {
		p.wg.Wait()
		return nil, err
	}
	return p, nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// family is the process and all that descend from it.
func (p *process) family() []member {
	if p.hasEnded() {
		return nil
	}
	children, all := map[int][]member{}, []member{}
	for _, s := range processes() {
		children[s.parent] = append(children[s.parent], s.member)
		if s.pid == p.cmd.Process.Pid {
			all = append(all, s.member)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// freeze stops the family, its head first: then no child is born meanwhile.
func (p *process) freeze() []member {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	awaitStop(p.cmd.Process.Pid)
	all := p.family()
	for _, m := range all {
		_ = m.signal(syscall.SIGSTOP)
	}
	for _, m := range all {
		awaitStop(m.pid)
	}
	return all
}

// awaitStop waits until a process has stopped, or is gone: a signal needs its time on a
// machine that has much to do.
func awaitStop(pid int) {
	await(time.Second, func() bool {
		s, ok := lookUp(pid)
		return !ok || s.state == 'T' || s.state == 'Z'
	})
}

// thaw lets the family go on.
func (p *process) thaw() error {
	var err error
	for _, m := range p.family() {
		err = errors.Join(err, m.signal(syscall.SIGCONT))
	}
	return err
}

// kill ends the family and waits for that.
func (p *process) kill() error {
	all := p.freeze()
	_ = p.cmd.Process.Kill()
	for _, m := range all {
		_ = m.signal(syscall.SIGKILL)
	}
	p.wg.Wait()
	return awaitEnd(all)
}

// signal reaches the process that is meant, or none.
func (m member) signal(sig syscall.Signal) error {
	if !m.lives() {
		return nil
	}
	if err := syscall.Kill(m.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", m.pid, err)
	}
	return nil
}

func (m member) lives() bool {
	s, ok := lookUp(m.pid)
	return ok && s.born == m.born && s.state != 'Z'
}

// awaitEnd waits until none of the processes is left.
func awaitEnd(all []member) error {
	for _, m := range all {
		if !await(endWithin, func() bool { return !m.lives() }) {
			return fmt.Errorf("end server: process %d lives on", m.pid)
		}
	}
	return nil
}

// await asks until the answer is yes, or the time is over.
func await(within time.Duration, yes func() bool) bool {
	end := time.After(within)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
	return true
}

// A watch kills frozen processes if the test's process dies.
type watch struct {
	cmd  *exec.Cmd
	hold io.Closer
}

// watchOver starts a shell that waits for the end of its input, which comes
// with the death of the test at the latest.
func watchOver(all []member) (*watch, error) {
	args := []string{"-c", `read -r _; kill -KILL "$@"`, "sh"}
	for _, m := range all {
		args = append(args, strconv.Itoa(m.pid))
	}
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watch over server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch over server: %w", err)
	}
	return &watch{cmd: cmd, hold: hold}, nil
}

// end ends the watch before its input ends.
func (w *watch) end() {
	if w == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	_ = w.hold.Close()
}
