package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// ErrProgram is the error of a program that cannot be run as it is described.
var ErrProgram = errors.New("bad program")

// MaxProcesses bounds the processes of one program.
const MaxProcesses = 1024

// A Program is a command that is to run in some processes.
type Program struct {
	Name    string
	Command []string // the file and its arguments; no shell reads them
	Env     []string // NAME=value, all of it: nothing is inherited
	Dir     string   // where it runs; empty means where the supervisor does

	Processes int  // how many; Scale changes it
	MinReady  int  // a rolling restart leaves so many ready; 0 means Processes-1
	Surge     bool // a rolling restart starts a successor before it stops a process

	Handshake    bool          // the process says READY=1; else it is ready when it has lived for ReadyAfter
	ReadyTimeout time.Duration // for READY=1; default 30s
	ReadyAfter   time.Duration // default 1s
	StopSignal   syscall.Signal
	StopGroup    bool          // the stop signal goes to the whole process group, not only to its leader
	StopTimeout  time.Duration // then the group is killed; default 30s
	Watchdog     time.Duration // the process says WATCHDOG=1 more often than this; 0 means it need not
	Backoff      Backoff
	Loop         Loop

	Prefix bool // its lines on the console begin with its name
}

// filled sets the defaults.
func (p Program) filled() Program {
	p.ReadyTimeout = cmp.Or(p.ReadyTimeout, 30*time.Second)
	p.ReadyAfter = cmp.Or(p.ReadyAfter, time.Second)
	p.StopSignal = cmp.Or(p.StopSignal, syscall.SIGTERM)
	p.StopTimeout = cmp.Or(p.StopTimeout, 30*time.Second)
	p.Backoff.Min = cmp.Or(p.Backoff.Min, 500*time.Millisecond)
	p.Backoff.Max = cmp.Or(p.Backoff.Max, max(30*time.Second, p.Backoff.Min))
	p.Backoff.Healthy = cmp.Or(p.Backoff.Healthy, time.Minute)
	p.Loop.Failures = cmp.Or(p.Loop.Failures, 5)
	p.Loop.Within = cmp.Or(p.Loop.Within, 5*time.Minute)
	return p
}

// check says what is wrong with a program.
func (p Program) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w %q: %s", ErrProgram, p.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case !plainName(p.Name):
		return bad("a name has letters, digits, '_', '-' and '.', at most 64, and begins with none of the last two")
	case len(p.Command) == 0 || p.Command[0] == "":
		return bad("it has no command")
	case p.Processes < 0 || p.Processes > MaxProcesses:
		return bad("%d processes; allowed are 0 to %d", p.Processes, MaxProcesses)
	case p.MinReady < 0 || p.MinReady > p.Processes:
		return bad("%d of %d processes cannot be ready", p.MinReady, p.Processes)
	case p.Backoff.Min < 0 || p.Backoff.Max < p.Backoff.Min || p.Backoff.Healthy < 0:
		return bad("its backoff is negative, or its greatest is less than its least")
	case p.ReadyTimeout < 0 || p.ReadyAfter < 0 || p.StopTimeout < 0 || p.Watchdog < 0:
		return bad("a time is negative")
	case p.Loop.Failures < 0 || p.Loop.Within < 0:
		return bad("its crash loop is negative")
	}
	for _, s := range append(append([]string{p.Dir}, p.Command...), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return bad("a NUL byte cannot be passed to a process")
		}
	}
	return nil
}

// plainName keeps names fit for files and for columns of a table.
func plainName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// checked fills and checks a set of programs.
func checked(programs []Program) ([]Program, error) {
	seen := map[string]bool{}
	out := make([]Program, 0, len(programs))
	for _, p := range programs {
		p = p.filled()
		if err := p.check(); err != nil {
			return nil, err
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("%w %q: it is there twice", ErrProgram, p.Name)
		}
		seen[p.Name] = true
		out = append(out, p)
	}
	return out, nil
}

// policy is the part of a program that decides.
func (p Program) policy() Policy {
	return Policy{
		Handshake: p.Handshake, ReadyTimeout: p.ReadyTimeout, ReadyAfter: p.ReadyAfter, StopTimeout: p.StopTimeout,
		Watchdog: p.Watchdog, Backoff: p.Backoff, Loop: p.Loop,
	}
}

// least is how many of so many processes must be ready.
func (p Program) least(want int) int {
	if p.MinReady > 0 {
		return min(p.MinReady, want)
	}
	return max(0, want-1)
}

// floor is how many processes a rolling restart leaves ready: with a successor
// that is started before, none needs to be missing.
func (p Program) floor(want int) int {
	if p.Surge && p.MinReady == 0 {
		return want
	}
	return p.least(want)
}
