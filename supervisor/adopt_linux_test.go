package supervisor_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/supervisor"
)

func TestOrphansAreBuriedAndNoExitIsStolen(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	file := filepath.Join(t.TempDir(), "pids")
	r := start(t, supervisor.Options{}, child("p", "orphan:"+file+" exit:7"), child("q", "exit:9"))
	until(t, "three orphans", func() bool { return len(pids(file)) >= 3 })
	first := pids(file)[:3]
	until(t, "their burial", func() bool {
		return !slices.ContainsFunc(first, exists)
	})
	r.end()
	for _, e := range r.seen(supervisor.KindExited) {
		want := map[string]int{"p": 7, "q": 9}[e.Program]
		if e.Exit.Err != nil || e.Exit.Code != want && !e.Exit.Planned {
			t.Errorf("exit of %s: %+v, want code %d", e.Program, e.Exit, want)
		}
	}
}

func TestAsTheFirstProcessItBuriesOrphans(t *testing.T) {
	if err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run(); err != nil {
		t.Skipf("no process namespace can be made: %v", err)
	}
	file := filepath.Join(t.TempDir(), "pids")
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=init:"+file)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "pid 1 has buried all") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestTheMemoryCurveIsKept(t *testing.T) {
	r := start(t, supervisor.Options{}, child("p", "sleep:2500ms exit:1"))
	e := r.exit()
	if len(e.Curve) == 0 || e.Curve[0].RSS < 1<<20 {
		t.Errorf("curve %v", e.Curve)
	}
}

func TestAFullDiskStopsNobodyAndHeals(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 56<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	room := filepath.Join(t.TempDir(), "room")
	r := start(t, supervisor.Options{Logs: supervisor.Logs{Dir: dir}},
		handshaking("p", "flood:200 ready await:"+room+" print:healed say:X_POSTHORN_DONE=1 wait"))
	r.awaitReady(1) // it wrote 40 KiB and was not held up
	file := filepath.Join(dir, "p.log")
	until(t, "a full disk", func() bool { info, err := os.Stat(file); return err == nil && info.Size() == 8<<10 })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(room, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "lines after the fault", func() bool {
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), " lines lost here]\n") && strings.HasSuffix(string(text), "\nhealed\n")
	})
}

func TestWithoutAGuardianTheKernelEndsTheProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=supervise:"+file, bareEnv+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "two processes", func() bool { return len(pids(file)) == 2 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	until(t, "their end", func() bool { return noneAlive(pids(file)) })
}

// TestProcessesOutliveTheThreadsOfTheSupervisor ends threads while a process
// lives that the kernel binds to the life of one.
func TestProcessesOutliveTheThreadsOfTheSupervisor(t *testing.T) {
	p := handshaking("p", "ready wait")
	p.Processes = 16
	r := start(t, supervisor.Options{}, p)
	r.awaitReady(16)
	for range 6 {
		endThreads()
		old := r.pids()
		if err := r.Restart("p", false); err != nil {
			t.Fatal(err)
		}
		until(t, "successors", r.replaced(old, 16))
	}
	endThreads()
	for _, e := range r.seen(supervisor.KindExited) {
		if !e.Exit.Planned {
			t.Errorf("a process died with its thread: %+v", e.Exit)
		}
	}
}

func endThreads() {
	for range 100 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
				runtime.Gosched()
			})
		}
		wg.Wait()
	}
}
