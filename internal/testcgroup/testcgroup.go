//go:build linux

// Package testcgroup gives tests a control group with a memory limit, in which the
// kernel itself kills who needs more.
package testcgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Memory is a control group that the kernel lets use so much.
type Memory struct{ dir string }

// A version is how one of the two versions of cgroups names its files, see
// cgroups(7).
type version struct{ root, limit, swap string }

func versions() []version {
	return []version{
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"},
	}
}

// New makes a group with a limit in bytes, which is removed when the test has ended and
// its processes with it. Where this user may make none, the test is skipped.
func New(t *testing.T, limit int64) *Memory {
	t.Helper()
	var refused error
	for _, v := range versions() {
		m := &Memory{dir: filepath.Join(v.root, "posthorn-test-"+strconv.Itoa(os.Getpid()))}
		err := m.set(v, strconv.FormatInt(limit, 10))
		if err == nil {
			t.Cleanup(func() { m.remove(t) })
			return m
		}
		_ = os.Remove(m.dir)
		refused = errors.Join(refused, err)
	}
	t.Skipf("this machine gives us no control group of our own: %v", refused)
	return nil
}

func (m *Memory) set(v version, limit string) error {
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	if err := set(filepath.Join(m.dir, v.limit), limit); err != nil {
		return err
	}
	swap := filepath.Join(m.dir, v.swap)
	if _, err := os.Stat(swap); err != nil {
		return nil //nolint:nilerr // a kernel that counts no swap has no such file
	}
	if filepath.Base(swap) == "memory.swap.max" {
		limit = "0"
	}
	return set(swap, limit)
}

// set writes to a file of the kernel. Where there is none, it is no control group.
func set(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Command is a command that runs another one within the group.
func (m *Memory) Command(args ...string) []string {
	return append([]string{"sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(m.dir, "cgroup.procs")}, args...)
}

// remove waits for the last process; the kernel removes no group that has one.
func (m *Memory) remove(t *testing.T) {
	var err error
	for range 500 {
		if err = os.Remove(m.dir); err == nil {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	left, _ := os.ReadFile(filepath.Join(m.dir, "cgroup.procs"))
	t.Errorf("remove the control group: %v; its processes are %q", err, strings.Fields(string(left)))
}
