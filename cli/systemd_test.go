package cli_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/testserver"
)

// units writes units for a program that exists, and returns their paths.
func units(t *testing.T, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	// The program is any that exists, and not below /tmp, which a service has for itself.
	out, code := run(t, append([]string{"generate", "systemd", "--binary", "/usr/bin/env", "--out", dir,
		"--store", "sqlite:/srv/my shop/shop.db"}, args...)...)
	if code != 0 {
		t.Fatalf("generate: code %d\n%s", code, out)
	}
	return strings.Fields(out)
}

func TestSystemdUnderstandsEachUnit(t *testing.T) {
	analyze := testserver.Program(t, "systemd-analyze", "systemd")
	for _, args := range [][]string{nil, {"--per-program"}, {"--working-directory", "/srv/my shop 100%"}} {
		paths := units(t, args...)
		out := execute(t, "/", analyze, append([]string{"verify", "--man=no"}, paths...)...)
		if strings.TrimSpace(out) != "" {
			t.Errorf("%v: systemd-analyze verify:\n%s", args, out)
		}
	}
}

// The threshold is in tenths: 2.0 is "OK", where a service without any of it has
// 9.6 ("UNSAFE").
func TestEachServiceIsLittleExposed(t *testing.T) {
	analyze := testserver.Program(t, "systemd-analyze", "systemd")
	for _, path := range slices.Concat(units(t), units(t, "--per-program")) {
		if strings.HasSuffix(path, ".service") {
			out := execute(t, "/", analyze, "security", "--offline=true", "--threshold=20", "--no-pager", path)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			t.Log(lines[len(lines)-1])
		}
	}
}

// What the unit forbids must not be what the program needs: a worker that
// handles messages in SQLite is watched, and each of its system calls compared
// with the filter.
func TestTheUnitAllowsWhatTheProgramNeeds(t *testing.T) {
	analyze := testserver.Program(t, "systemd-analyze", "systemd")
	strace := testserver.Program(t, "strace", "strace")
	unit, code := run(t, "generate", "systemd", "--binary", "/usr/bin/env")
	if code != 0 {
		t.Fatalf("generate: code %d\n%s", code, unit)
	}
	allowed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(@\S+)$`).FindAllStringSubmatch(unit, -1) {
		for name := range syscalls(t, analyze, m[2]) {
			allowed[name] = m[1] == ""
		}
	}
	families := regexp.MustCompile(`(?m)^RestrictAddressFamilies=(.*)$`).FindStringSubmatch(unit)[1]
	if !strings.Contains(unit, "\nMemoryDenyWriteExecute=yes\n") || len(allowed) < 100 ||
		!allowed["read"] || allowed["mount"] || allowed["setuid"] {
		t.Fatalf("the filter was not read: %d calls\n%s", len(allowed), unit)
	}
	calls := watchCalls(t, strace)
	if len(calls) < 1000 {
		t.Fatalf("only %d calls were seen", len(calls))
	}
	for _, call := range calls {
		name, args, _ := strings.Cut(call, "(")
		switch {
		case strings.HasPrefix(name, "syscall_0x"): // strace has read the registers of a thread that was being killed
		case !allowed[name]:
			t.Errorf("SystemCallFilter= forbids %s", call)
		case (name == "mmap" || name == "mprotect") && strings.Contains(args, "PROT_EXEC") &&
			(name == "mprotect" || strings.Contains(args, "PROT_WRITE")):
			t.Errorf("MemoryDenyWriteExecute= forbids %s", call)
		case name == "socket" && !slices.Contains(strings.Fields(families), args[:strings.IndexByte(args, ',')]):
			t.Errorf("RestrictAddressFamilies= forbids %s", call)
		}
	}
}

// syscalls lists the members of one of systemd's sets.
func syscalls(t *testing.T, analyze, set string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(execute(t, "/", analyze, "syscall-filter", set)) {
		name := strings.TrimSpace(line)
		switch {
		case name == "" || name == set || strings.HasPrefix(name, "#"):
		case strings.HasPrefix(name, "@"):
			for member := range syscalls(t, analyze, name) {
				all[member] = true
			}
		default:
			all[name] = true
		}
	}
	return all
}

// watchCalls runs `up` until it has handled a message, and returns the system
// calls of all its processes.
func watchCalls(t *testing.T, strace string) []string {
	t.Helper()
	dir := publicDir(t)
	program := filepath.Join(dir, "shop")
	build := exec.Command("go", "build", "-o", program, "./examples/welcome") // without the race detector's runtime
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	execute(t, dir, program, "dispatch", "welcome", `{"user_id": 7}`)
	cmd := exec.Command(strace, "-D", "-f", "-qq", "-o", "calls", program, "up")
	cmd.Dir = dir
	if os.Geteuid() == 0 { // SQLite gives files away if root runs it, which a service does not
		execute(t, dir, "chown", "-R", "65534:65534", dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitIn(t, "the message's end", func() bool {
		look := exec.Command(program, "stats", "-o", "ndjson")
		look.Dir = dir
		out, err := look.Output()
		return err == nil && strings.Contains(string(out), `"ready":0`) && strings.Contains(string(out), `"in_flight":0`)
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("up: %v", err)
	}
	return readCalls(t, filepath.Join(dir, "calls"))
}

// readCalls reads what strace wrote, as soon as it is all there.
func readCalls(t *testing.T, path string) []string {
	t.Helper()
	var calls []string
	line := regexp.MustCompile(`^\d+ +([a-z0-9_]+\(.*)`)
	awaitIn(t, "the end of strace", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.HasSuffix(strings.TrimSpace(string(text)), "+++") ||
			err == nil && strings.Contains(string(text), "exit_group(0")
	})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			calls = append(calls, m[1])
		}
	}
	return calls
}

// publicDir is a directory that other users may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ph") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func awaitIn(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came", what)
		}
	}
}
