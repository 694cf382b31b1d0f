package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/supervisor"
)

// roleEnv makes the test binary one of the programs below.
const roleEnv = "SUPERVISOR_TEST_ROLE"

// bareEnv makes the supervisor that is to be killed do without a guardian.
const bareEnv = "SUPERVISOR_TEST_BARE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(strings.Fields(role)))
	}
	goleak.VerifyTestMain(m)
}

// play is the life of a child. Its role says what it does, step by step.
func play(steps []string) int {
	code := 0
	terms := make(chan os.Signal, 8)
	for _, step := range steps {
		name, arg, _ := strings.Cut(step, ":")
		switch name {
		case "ready":
			notify("READY=1")
		case "say":
			notify(arg)
		case "ping":
			notify("WATCHDOG=1")
		case "sleep":
			d, _ := time.ParseDuration(arg)
			time.Sleep(d)
		case "print":
			fmt.Println(arg)
		case "complain":
			fmt.Fprintln(os.Stderr, strings.ReplaceAll(arg, "_", " "))
		case "flood":
			flood(arg)
		case "mark":
			mark(arg)
		case "exit":
			code, _ = strconv.Atoi(arg)
			return code
		case "crash":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "deaf":
			signal.Ignore(syscall.SIGTERM)
		case "catch":
			signal.Notify(terms, syscall.SIGTERM)
		case "term":
			<-terms
		case "grandchild":
			grandchild(arg)
		case "orphan":
			orphan(arg)
		case "unless": // exits here if the file exists
			if _, err := os.Stat(arg); err == nil {
				return 0
			}
		case "await": // a file
			for _, err := os.Stat(arg); err != nil; _, err = os.Stat(arg) {
				time.Sleep(time.Millisecond)
			}
		case "guard":
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			if err := supervisor.Guard(os.Stdin); err != nil {
				return 1
			}
		case "supervise":
			return supervise(arg)
		case "init":
			return first(arg)
		case "starve":
			return starve()
		case "gorge":
			gorge()
		case "wait":
			select {}
		}
	}
	return code
}

func notify(line string) {
	if err := supervisor.Notify(os.Getenv("NOTIFY_SOCKET"), strings.Split(line, "|")...); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// mark adds this process's id to a file.
func mark(file string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = f.Close()
}

func flood(lines string) {
	n, _ := strconv.Atoi(lines)
	for i := range n {
		fmt.Printf("line %d of a flood %s\n", i, strings.Repeat("x", 200))
	}
}

// grandchild starts a deaf process of its own in the same group.
func grandchild(file string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=deaf mark:"+file+" wait")
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// orphan leaves a process behind that ends after its parent.
func orphan(file string) {
	cmd := exec.Command(os.Args[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), roleEnv+"=mark:"+file+" sleep:300ms")
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for len(pids(file)) == 0 {
		time.Sleep(time.Millisecond)
	}
}

// supervise is a supervisor that somebody will kill.
func supervise(file string) int {
	program := child("p", "grandchild:"+file+" deaf mark:"+file+" ready wait")
	program.Processes, program.Handshake = 2, true
	o := supervisor.Options{Guardian: []string{os.Args[0]}, GuardianEnv: []string{roleEnv + "=guard"}}
	if os.Getenv(bareEnv) != "" {
		program.Env[0], o = roleEnv+"=deaf mark:"+file+" ready wait", supervisor.Options{}
	}
	o.RunDir = filepath.Dir(file)
	s, err := supervisor.New([]supervisor.Program{program}, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 0
}

// first is a supervisor that is the first process of its namespace.
func first(file string) int {
	s, err := supervisor.New([]supervisor.Program{child("p", "orphan:"+file+" exit:7")}, supervisor.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { err = s.Run(ctx) })
	for ctx.Err() == nil {
		all := pids(file)
		if len(all) >= 3 && !slices.ContainsFunc(all[:3], exists) {
			fmt.Println("pid", os.Getpid(), "has buried all")
			stop()
		}
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
	return 0
}

// exists is true of the unburied too.
func exists(pid int) bool { return syscall.Kill(pid, 0) == nil }

// child is a program that plays a role.
func child(name, role string) supervisor.Program {
	return supervisor.Program{
		Name: name, Command: []string{os.Args[0]}, Processes: 1,
		Env:        []string{roleEnv + "=" + role, "GORACE=atexit_sleep_ms=0"}, // what has been seen is enough
		Backoff:    supervisor.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond},
		ReadyAfter: 50 * time.Millisecond,
	}
}

// handshaking is a program that says when it is ready.
func handshaking(name, role string) supervisor.Program {
	p := child(name, role)
	p.Handshake = true
	return p
}

// rig is a running supervisor, and what it has told.
type rig struct {
	*supervisor.Supervisor
	t    *testing.T
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	events []supervisor.Event
	parent []string
	err    error
}

func (r *rig) observe(_ context.Context, e supervisor.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *rig) hear(lines ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parent = append(r.parent, lines...)
}

func (r *rig) heard() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.parent, "\n")
}

// start runs a supervisor until the test ends.
func start(t *testing.T, o supervisor.Options, programs ...supervisor.Program) *rig {
	t.Helper()
	r := &rig{t: t}
	if o.Observe == nil {
		o.Observe = r.observe
	}
	o.Notify, o.RunDir = r.hear, t.TempDir()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := supervisor.New(programs, o)
	if err != nil {
		t.Fatal(err)
	}
	r.Supervisor = s
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.wg.Go(func() { r.err = s.Run(ctx) })
	t.Cleanup(r.end)
	return r
}

// end stops the supervisor and wants everything to be over.
func (r *rig) end() {
	r.stop()
	r.wg.Wait()
	if r.err != nil {
		r.t.Errorf("Run: %v", r.err)
	}
	if left := r.Status(); len(left) != 0 {
		r.t.Errorf("left after Run: %+v", left)
	}
}

// seen are the events of a kind so far.
func (r *rig) seen(kind supervisor.Kind) []supervisor.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []supervisor.Event
	for _, e := range r.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// until waits for something that must come.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came", what)
		}
	}
}

func (r *rig) awaitReady(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d ready processes", n), func() bool { return r.ready() == n })
}

func (r *rig) ready() int {
	n := 0
	for _, st := range r.Status() {
		if st.Phase == supervisor.PhaseReady {
			n++
		}
	}
	return n
}

// exit waits for the first exit and returns it.
func (r *rig) exit() supervisor.Exit {
	r.t.Helper()
	until(r.t, "an exit", func() bool { return len(r.seen(supervisor.KindExited)) > 0 })
	return *r.seen(supervisor.KindExited)[0].Exit
}

// pids reads what mark has written.
func pids(file string) []int {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var out []int
	for word := range strings.FieldsSeq(string(text)) {
		pid, _ := strconv.Atoi(word)
		out = append(out, pid)
	}
	return out
}

// alive reports whether a process exists that is not merely unburied.
func alive(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	return !strings.Contains(string(text), ") Z ")
}

func noneAlive(all []int) bool { return !slices.ContainsFunc(all, alive) }
