package supervisor_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/supervisor"
)

func TestProcessesBecomeReadyAndAreReplacedWhenTheyDie(t *testing.T) {
	p := handshaking("p", "ready wait")
	p.Processes = 3
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(3)
	victim := r.Status()[1].PID
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := r.exit(); e.Signal != syscall.SIGKILL || e.Code != -1 || e.Planned || e.OOM || e.Clean() {
		t.Errorf("exit %+v", e)
	}
	until(t, "a successor", func() bool { return r.ready() == 3 && r.Status()[1].PID != victim })
	if st := r.Status()[1]; st.Restarts != 1 || st.LastExit == nil || st.Place != 1 {
		t.Errorf("status %+v", st)
	}
	r.end()
	for _, e := range r.seen(supervisor.KindExited)[1:] {
		if !e.Exit.Planned || e.Exit.Signal != syscall.SIGTERM {
			t.Errorf("a stopped process ended with %+v", e.Exit)
		}
	}
}

func TestAnExitIsToldBeforeTheSuccessorIsStarted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "starts")
	var told []int // starts at each exit
	r := start(t, supervisor.Options{Observe: func(_ context.Context, e supervisor.Event) {
		if e.Kind == supervisor.KindExited {
			time.Sleep(50 * time.Millisecond) // a successor would have started by now
			told = append(told, len(pids(file)))
		}
	}}, child("p", "mark:"+file+" exit:1"))
	until(t, "four starts", func() bool { return len(pids(file)) >= 4 })
	r.end()
	for i, n := range told {
		if n != i+1 {
			t.Fatalf("at exit %d there had been %d starts: %v", i+1, n, told)
		}
	}
}

func TestAnObserverThatHangsHoldsUpSupervisionForABoundedTimeOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "starts")
	release := make(chan struct{})
	hang := func(context.Context, supervisor.Event) { <-release } // and cares for no context
	r := start(t, supervisor.Options{Observe: hang, ObserveTimeout: 100 * time.Millisecond},
		child("p", "mark:"+file+" exit:1"))
	until(t, "a second start", func() bool { return len(pids(file)) >= 2 })
	close(release)
	r.end()
}

func TestCodeZeroAfterReadinessIsNoFailure(t *testing.T) {
	r := start(t, supervisor.Options{}, handshaking("p", "ready exit:0"))
	until(t, "ten lives", func() bool { return len(r.seen(supervisor.KindExited)) >= 10 })
	if st := r.Status()[0]; st.Failures != 0 || len(r.seen(supervisor.KindCrashLoop)) != 0 {
		t.Errorf("failures were counted: %+v", st)
	}
}

func TestACrashLoopIsToldOnceAndRestartsGoOn(t *testing.T) {
	dir := t.TempDir()
	p := handshaking("p", "unless:"+filepath.Join(dir, "never")+" complain:no_luck exit:3")
	p.Loop.Failures = 3
	r := start(t, supervisor.Options{}, p)
	until(t, "six deaths", func() bool { return len(r.seen(supervisor.KindExited)) >= 6 })
	if n := len(r.seen(supervisor.KindCrashLoop)); n != 1 {
		t.Errorf("%d reports of the crash loop", n)
	}
	e := r.seen(supervisor.KindExited)[2].Exit
	if e.Code != 3 || !slices.Equal(e.Stderr, []string{"no luck"}) {
		t.Errorf("the evidence is %+v", e)
	}
}

func TestACommandThatDoesNotExistIsTriedAgain(t *testing.T) {
	p := child("p", "wait")
	p.Command = []string{"no-such-command-anywhere"}
	r := start(t, supervisor.Options{}, p)
	until(t, "two tries", func() bool { return len(r.seen(supervisor.KindExited)) >= 2 })
	if e := r.exit(); e.Err == nil || e.Clean() {
		t.Errorf("exit %+v", e)
	}
}

func TestAProcessThatIsNotReadyInTimeIsReplaced(t *testing.T) {
	p := handshaking("p", "wait")
	p.ReadyTimeout = 100 * time.Millisecond
	r := start(t, supervisor.Options{}, p)
	until(t, "an exit", func() bool { return len(r.seen(supervisor.KindExited)) > 0 })
	if e := r.seen(supervisor.KindExited)[0]; e.Reason != "not ready in time" || !e.Exit.Planned {
		t.Errorf("told %+v", e)
	}
}

func TestAProcessThatFallsSilentIsAbortedByItsWatchdog(t *testing.T) {
	p := handshaking("p", "ready ping sleep:50ms ping wait")
	p.Watchdog = 300 * time.Millisecond
	r := start(t, supervisor.Options{}, p)
	e := r.exit()
	if len(e.Stderr) == 0 || !strings.Contains(r.seen(supervisor.KindExited)[0].Reason, "watchdog") {
		t.Errorf("exit %+v; a Go program leaves a trace of SIGABRT", e)
	}
}

func TestAWholeGroupIsKilledWhenItsLeaderStops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	p := handshaking("p", "grandchild:"+file+" deaf mark:"+file+" ready wait")
	p.StopTimeout = 100 * time.Millisecond
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(1)
	until(t, "a grandchild", func() bool { return len(pids(file)) == 2 })
	r.end()
	until(t, "the end of all", func() bool { return noneAlive(pids(file)) })
	if e := r.exit(); e.Signal != syscall.SIGKILL || e.OOM {
		t.Errorf("exit %+v", e)
	}
}

func TestAWholeGroupIsKilledWhenItsLeaderDies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	r := start(t, supervisor.Options{}, handshaking("p", "unless:"+file+" grandchild:"+file+" await:"+file+" crash"))
	until(t, "a grandchild", func() bool { return len(pids(file)) == 1 })
	r.exit()
	until(t, "the end of the grandchild", func() bool { return noneAlive(pids(file)) })
}

func TestNothingOutlivesAKilledSupervisor(t *testing.T) {
	for name, kill := range map[string]func(pid int) error{
		"alone":          func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"with its group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
		"after a vain order": func(pid int) error {
			_ = syscall.Kill(-pid, syscall.SIGHUP)
			return syscall.Kill(-pid, syscall.SIGKILL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), roleEnv+"=supervise:"+file)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Stderr = t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "two processes and their children", func() bool { return len(pids(file)) == 4 })
			if err := kill(cmd.Process.Pid); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			until(t, "the end of all", func() bool { return noneAlive(pids(file)) })
			until(t, "the end of their sockets", func() bool {
				left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "posthorn-*"))
				return err == nil && len(left) == 0
			})
		})
	}
}

func TestFieldsAreKeptAndToldUpToTheExit(t *testing.T) {
	r := start(t, supervisor.Options{}, handshaking("p", "say:READY=1|X_POSTHORN_WORKER=w-1|STATUS=fine|OTHER=x wait"))
	r.awaitReady(1)
	st := r.Status()[0]
	if st.Status != "fine" || len(st.Fields) != 1 || st.Fields["X_POSTHORN_WORKER"] != "w-1" {
		t.Errorf("status %+v", st)
	}
	until(t, "the event", func() bool { return len(r.seen(supervisor.KindFields)) == 1 })
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	r.exit()
	if e := r.seen(supervisor.KindExited)[0]; e.Fields["X_POSTHORN_WORKER"] != "w-1" || e.PID != st.PID {
		t.Errorf("exit told as %+v", e)
	}
}

func TestWhatIsSaidLastIsHeardBeforeTheExit(t *testing.T) {
	r := start(t, supervisor.Options{}, handshaking("p", "say:READY=1|X_POSTHORN_WORKER=w-2 crash"))
	r.exit()
	if e := r.seen(supervisor.KindExited)[0]; e.Fields["X_POSTHORN_WORKER"] != "w-2" {
		t.Errorf("exit told as %+v", e)
	}
}

func TestDeathForWantOfMemoryIsRecognised(t *testing.T) {
	role := "complain:fatal_error:_runtime:_out_of_memory "
	for range 40 { // the goroutines that follow
		role += "complain:goroutine "
	}
	r := start(t, supervisor.Options{}, child("p", role+"exit:2"))
	e := r.exit()
	if !e.OOM || len(e.Stderr) != 20 || e.Stderr[0] != "fatal error: runtime: out of memory" || e.MaxRSS == 0 {
		t.Errorf("exit %+v", e)
	}
}

// A look after the guardian that came after its end took it for lost, and started another one
// from a thread that was not there any more.
func TestAGuardianThatIsClosedIsNotReplaced(t *testing.T) {
	o := supervisor.Options{Guardian: []string{os.Args[0]}, GuardianEnv: []string{roleEnv + "=guard"}}
	if started, err := supervisor.GuardianAfterClose(o); err != nil || started {
		t.Errorf("another one was started: %v, %v", started, err)
	}
}

func TestAGuardianThatDiesIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "guards")
	r := start(t, supervisor.Options{
		Guardian: []string{os.Args[0]}, GuardianEnv: []string{roleEnv + "=mark:" + file + " guard"},
	}, handshaking("p", "ready wait"))
	r.awaitReady(1)
	until(t, "a guardian", func() bool { return len(pids(file)) == 1 })
	_ = syscall.Kill(pids(file)[0], syscall.SIGKILL)
	until(t, "another guardian", func() bool { return len(pids(file)) == 2 })
	r.end()
	until(t, "the end of the guardian", func() bool { return noneAlive(pids(file)) })
}
