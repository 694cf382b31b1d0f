package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// ship is `shop up` in a process of its own, as systemd would start it.
type ship struct {
	*stage
	cmd  *exec.Cmd
	over chan error
}

// launch writes a configuration and prepares the command; sail starts it.
func launch(t *testing.T, config string) *ship {
	t.Helper()
	st := newStage(t, config)
	st.shop()
	sh := &ship{stage: st, over: make(chan error, 1)}
	sh.cmd = exec.Command(os.Args[0], "up", "--config", st.config)
	sh.cmd.Env = st.environ()
	sh.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	sh.cmd.Stderr = &st.errs
	return sh
}

func (sh *ship) sail() {
	sh.t.Helper()
	if err := sh.cmd.Start(); err != nil {
		sh.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); sh.over <- sh.cmd.Wait() }()
	sh.t.Cleanup(func() { _ = sh.cmd.Process.Kill(); <-done })
}

// anchor stops it and wants a good end.
func (sh *ship) anchor() {
	sh.t.Helper()
	_ = sh.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-sh.over; err != nil {
		sh.t.Errorf("up ended with %v; stderr:\n%s", err, sh.errs.String())
	}
	sh.over <- nil
}

func (sh *ship) dispatch(kind string, bodies ...string) {
	sh.t.Helper()
	sh.stdin = strings.Join(bodies, "\n")
	if code := sh.run("dispatch", kind, "-"); code != 0 {
		sh.t.Fatalf("dispatch: code %d\n%s", code, sh.errs.String())
	}
}

// rows counts what the handlers of insert have written.
func (sh *ship) rows() int {
	sh.t.Helper()
	return sh.count("select count(*) from shop_row")
}

func (sh *ship) count(query string) (n int) {
	text, err := os.ReadFile(sh.config)
	if err != nil {
		sh.t.Fatal(err)
	}
	dsn := regexp.MustCompile(`sqlite:\S+`).FindString(string(text))
	s, err := sqlite.Open(context.Background(), dsn, store.Options{})
	if err != nil {
		sh.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_ = s.DB().QueryRow(query).Scan(&n) // the table may not be there yet
	return n
}

// workers are the processes that have started so far, by the log.
func (sh *ship) workers() []int {
	var pids []int
	for _, m := range regexp.MustCompile(`worker starts" worker=w-(\d+)-`).FindAllStringSubmatch(sh.errs.String(), -1) {
		pid, _ := strconv.Atoi(m[1])
		pids = append(pids, pid)
	}
	return pids
}

func lives(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func hear(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func inserts(n int) []string {
	var bodies []string
	for i := range n {
		bodies = append(bodies, fmt.Sprintf(`{"text":"%d"}`, i))
	}
	return bodies
}

func TestAKilledWorkersMessagesAreReleasedBeforeItsSuccessorStarts(t *testing.T) {
	sh := launch(t, "programs: {p: {lease: 10m}}\n")
	sh.dispatch("greet", `{"to":"a","nap":"1h"}`)
	sh.sail()
	sh.await("a nap", sh.napping)
	if err := os.Remove(filepath.Join(sh.dir, "napping")); err != nil {
		t.Fatal(err)
	}
	first := sh.workers()[0]
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sh.await("the same nap, long before the lease is over", sh.napping)
	sh.awaitText("worker starts", 2)
	log := sh.errs.String()
	died, released := strings.Index(log, "process died"), strings.Index(log, "messages of a dead worker are released")
	next := strings.LastIndex(log, "worker starts")
	if died < 0 || released < died || next < released || !strings.Contains(log, "suspected=1") {
		t.Errorf("death at %d, release at %d, successor at %d in\n%s", died, released, next, log)
	}
	_ = sh.cmd.Process.Signal(syscall.SIGTERM)
	sh.awaitText("worker stops", 1)
	_ = sh.cmd.Process.Signal(syscall.SIGTERM) // the nap is long
	<-sh.over
	sh.over <- nil
}

func TestNothingOutlivesAKilledUp(t *testing.T) {
	for name, target := range map[string]int{"alone": 1, "with its process group": -1} {
		t.Run(name, func(t *testing.T) {
			sh := launch(t, "programs: {p: {processes: 2}, q: {command: "+
				"[sh, -c, 'trap \"\" TERM HUP; sleep 600 & echo child $!; wait']}}\n")
			sh.cmd.Stdout = &sh.errs
			sh.sail()
			sh.awaitText("worker starts", 2)
			sh.awaitText("child ", 1)
			grandchild, _ := strconv.Atoi(regexp.MustCompile(`child (\d+)`).FindStringSubmatch(sh.errs.String())[1])
			all := append(sh.workers(), grandchild)
			if slices.ContainsFunc(all, func(pid int) bool { return !lives(pid) }) {
				t.Fatalf("not all of %v live", all)
			}
			_ = syscall.Kill(target*sh.cmd.Process.Pid, syscall.SIGKILL)
			sh.await("the end of all", func() bool { return !slices.ContainsFunc(all, lives) })
		})
	}
}

func TestAllWorkersReachTheirLimitsAndNothingIsLostOrDoubled(t *testing.T) {
	const n = 100
	sh := launch(t, "programs: {p: {processes: 3, limits: {messages: 10}}}\n")
	sh.dispatch("insert", inserts(n)...)
	sh.sail()
	sh.await("all rows", func() bool { return sh.rows() >= n })
	sh.anchor()
	if rows := sh.rows(); rows != n {
		t.Errorf("%d rows for %d messages", rows, n)
	}
	if starts := len(sh.workers()); starts < n/10 {
		t.Errorf("only %d workers: the limits were not kept", starts)
	}
	if strings.Contains(sh.errs.String(), "process died") {
		t.Errorf("a limit was taken for a crash:\n%s", sh.errs.String())
	}
}

func TestAClosedConsoleStopsNobody(t *testing.T) {
	sh := launch(t, "programs: {p: {processes: 2, limits: {messages: 5}}}\n")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sh.cmd.Stderr, sh.cmd.Stdout = w, w
	sh.sail()
	_, _ = w.Close(), r.Close()
	sh.dispatch("insert", inserts(30)...)
	sh.await("all rows", func() bool { return sh.rows() == 30 })
	sh.anchor()
}

func TestAHandlerThatNeverReturnsEndsItsWorkerAndIsFound(t *testing.T) {
	sh := launch(t, "programs: {p: {concurrency: 2, stuck_limit: 1ms, drain_timeout: 100ms}}\n")
	sh.dispatch("hang", `{}`)
	sh.sail()
	sh.awaitText("dead letter", 1) // by the worker that ends: it would come back for ever else
	sh.awaitText("worker starts", 2)
	sh.dispatch("insert", inserts(5)...)
	sh.await("all rows", func() bool { return sh.rows() == 5 })
	sh.anchor()
	if code := sh.run("failed", "list", "-o", "json"); code != 0 {
		t.Fatalf("failed list: code %d\n%s", code, sh.errs.String())
	}
	if !strings.Contains(sh.out.String(), `"timeout"`) || strings.Count(sh.out.String(), `"hang"`) != 1 {
		t.Errorf("dead letters:\n%s", sh.out.String())
	}
}

func TestAStuckConsoleStopsNobody(t *testing.T) {
	sh := launch(t, "programs: {p: {processes: 2, limits: {messages: 2}}, "+
		"loud: {command: [sh, -c, 'yes & sleep 600']}}\n")
	r, w, err := os.Pipe() // nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = w.Close(), r.Close() }()
	sh.cmd.Stderr, sh.cmd.Stdout = w, w
	sh.sail()
	sh.dispatch("insert", inserts(30)...)
	sh.await("all rows", func() bool { return sh.rows() == 30 })
	sh.anchor()
}

func TestAFullLogDiskStopsNobody(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted: %v: %s", err, out)
	}
	defer func() { _ = exec.Command("umount", "-l", dir).Run() }()
	if err := os.WriteFile(filepath.Join(dir, "ballast"), bytes.Repeat([]byte{1}, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := launch(t, "logs: {dir: "+dir+"}\nprograms: {p: {limits: {messages: 5}}}\n")
	sh.sail()
	sh.dispatch("insert", inserts(20)...)
	sh.await("all rows", func() bool { return sh.rows() == 20 })
	sh.awaitText("log file refuses lines", 1)
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	sh.dispatch("insert", inserts(20)...)
	sh.await("lines after the fault", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "p.err.log"))
		return strings.Contains(string(text), "lines lost here") && strings.Contains(string(text), "worker starts")
	})
	sh.anchor()
}

func TestACommandGetsTheVariablesThatAreNamedAndNoOthers(t *testing.T) {
	sh := launch(t, "programs: {q: {env: [NAMED], command: [sh, -c, 'env; echo end; sleep 600']}}\n")
	sh.cmd.Env = append(sh.cmd.Env, "NAMED=yes", "UNNAMED=c4n4ry")
	sh.cmd.Stdout = &sh.errs
	sh.sail()
	sh.awaitText("] end\n", 1)
	sh.anchor()
	log := sh.errs.String()
	if !strings.Contains(log, "] NAMED=yes\n") || !strings.Contains(log, "] PATH=") || strings.Contains(log, "c4n4ry") {
		t.Errorf("the environment is\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(sh.config), "a.db")); err == nil {
		t.Error("a store was made for a command that needs none")
	}
}

func TestACommandCannotPassItselfOffAsAWorker(t *testing.T) {
	impostor := filepath.Join(t.TempDir(), "impostor")
	sh := launch(t, "programs: {p: {lease: 10m}, q: {env: ["+impostorEnv+", "+childEnv+"], command: ["+os.Args[0]+"]}}\n")
	sh.cmd.Env = append(sh.cmd.Env, impostorEnv+"="+impostor)
	sh.dispatch("greet", `{"to":"a","nap":"1h"}`)
	sh.sail()
	sh.await("a nap", sh.napping)
	id := regexp.MustCompile(`w-\d+-\w+`).FindString(sh.errs.String())
	if err := os.WriteFile(impostor, []byte(id), 0o600); err != nil {
		t.Fatal(err)
	}
	sh.awaitText("process died", 2)
	if n := sh.count("select count(*) from posthorn_worker where id = '" + id + "'"); n != 1 {
		t.Errorf("%s was buried alive:\n%s", id, sh.errs.String())
	}
	_ = sh.cmd.Process.Signal(syscall.SIGTERM)
	sh.awaitText("worker stops", 1)
	_ = sh.cmd.Process.Signal(syscall.SIGTERM)
	<-sh.over
	sh.over <- nil
}

func TestSuperviseRunsWhatIsNamedAndRefusesWhatIsUnknown(t *testing.T) {
	sh := launch(t, "programs: {a: {command: [sleep, '600']}, b: {command: [sh, -c, 'echo b runs; sleep 600']}}\n")
	if code := sh.run("supervise", "c"); code != 2 || !strings.Contains(sh.errs.String(), "unknown program `c`") {
		t.Errorf("code %d\n%s", code, sh.errs.String())
	}
	sh.cmd.Args = append(slices.Clone(sh.cmd.Args), "b")
	sh.cmd.Args[1] = "supervise"
	sh.cmd.Stdout = &sh.errs
	sh.sail()
	sh.awaitText("b runs", 1)
	sh.anchor()
	if strings.Contains(sh.errs.String(), "program=a") {
		t.Errorf("a ran too:\n%s", sh.errs.String())
	}
}

func TestUpTellsItsParentHowItStands(t *testing.T) {
	sh := launch(t, "")
	socket := filepath.Join(t.TempDir(), "n")
	conn := hear(t, socket)
	sh.cmd.Env = append(sh.cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000")
	sh.sail()
	seen := map[string]bool{}
	hear := func(line string) {
		t.Helper()
		buf := make([]byte, 4096)
		for deadline := time.Now().Add(20 * time.Second); !seen[line]; {
			_ = conn.SetReadDeadline(deadline)
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s was never said: %v", line, err)
			}
			for said := range strings.SplitSeq(string(buf[:n]), "\n") {
				seen[said] = true
			}
		}
		clear(seen)
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	_ = sh.cmd.Process.Signal(syscall.SIGHUP)
	hear("RELOADING=1")
	hear("READY=1")
	sh.awaitText("worker starts", 2) // the reload has replaced it
	_ = sh.cmd.Process.Signal(syscall.SIGTERM)
	hear("STOPPING=1")
	if err := <-sh.over; err != nil {
		t.Errorf("up ended with %v", err)
	}
	sh.over <- nil
}
