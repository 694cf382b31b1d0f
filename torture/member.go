package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/flight"
)

// A member is one process of a crew. What is not of its start is guarded by the
// crew's lock.
type member struct {
	role    role
	name    string  // of its place and its birth: w0.1
	under   *member // the supervisor that started it; nil: the crew has
	process *os.Process
	cmd     *exec.Cmd // of one that the crew has started; so are the next three
	stdin   io.WriteCloser
	out     io.Reader
	log     *os.File
	done    chan struct{} // closed when it has ended
	how     string        // it ended
	alone   bool          // it runs suspects
	notes   string        // the file of its flight record; empty if it has none
	points  string        // the directory of the points at which it dies

	ready  string // the id of the worker, once it works
	killed bool   // by us
	dying  int    // points at which it, or a worker of it, is to die
	asked  bool   // to end
	death  bool   // it said that a message ends it
	ended  bool   // it has said its last word
	bad    string // which was this error
}

// start starts the process, and gives it its job.
func (m *member) start(c *crew, j job) (err error) {
	if m.role == roleProducer || m.role == roleOperator {
		j.Ledger = filepath.Join(c.dir, j.Name+ledgerEnding)
	} else { // those of a supervisor's workers are named after it
		m.notes = filepath.Join(c.dir, j.Name+".flight")
		j.Flight = m.notes
	}
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	m.cmd = exec.CommandContext(context.Background(), c.command[0], c.command[1:]...) //nolint:gosec // ourselves
	apart(m.cmd)
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	if m.out, err = m.cmd.StdoutPipe(); err != nil {
		return err
	}
	if err := m.arm(filepath.Join(c.dir, j.Name+".points")); err != nil {
		return err
	}
	log := filepath.Join(c.dir, j.Name+".log")
	if m.log, err = os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	m.cmd.Stderr = m.log
	if err := m.cmd.Start(); err != nil {
		_ = m.log.Close()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.process = m.cmd.Process
	c.members = append(c.members, m)
	_, _ = m.stdin.Write(append(text, '\n')) // one that died at once is found so
	if c.closed[m.role] {                    // it came too late to be asked
		m.askLocked()
	}
	return nil
}

// executes reports whether the process carries operations on.
func (m *member) executes() bool {
	return m.role == roleOperator || m.role == roleWorker && m.under == nil
}

// askLocked tells the process to end. One that is still on its way to work might
// not hear a signal, but hears the end of its stdin.
func (m *member) askLocked() {
	m.asked = true
	if m.ready == "" {
		_ = m.stdin.Close()
		return
	}
	_ = m.process.Signal(syscall.SIGTERM) // it may have ended by itself
}

// run listens to the process until it has ended.
func (m *member) run(c *crew) {
	defer close(m.done)
	lines := bufio.NewScanner(m.out)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // a line that a kill cut off
		}
		if e.Of != "" {
			c.hear(m, e)
			continue
		}
		c.heed(m, e)
		if e.End != "" {
			_ = m.stdin.Close() // it waits for this
		}
	}
	_ = m.cmd.Wait() // the state says how it ended
	m.how = m.cmd.ProcessState.String()
	_ = m.stdin.Close()
	_ = m.log.Close()
	c.orphans(m)
}

// obituary is what a supervisor knows of the death of the worker: which handlers ran,
// if its flight record tells.
func (m *member) obituary() driver.Death {
	d := driver.Death{Worker: m.ready, Cause: m.how, Alone: m.alone}
	if rec, err := flight.Read(m.notes); err == nil && rec.Complete {
		d.Begun = []driver.Token{}
		for _, e := range rec.Running {
			d.Begun = append(d.Begun, e.Token)
		}
	}
	return d
}
