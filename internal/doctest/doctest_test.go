package doctest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// root is the module's directory.
const root = "../.."

// block is a fenced block of a document.
type block struct {
	file string
	line int
	info string
	text []string
}

// exits is how a line says that it does not exit 0.
var exits = regexp.MustCompile(`\s# exits (\d+)$`)

func blocks(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	open := false
	for i, line := range strings.Split(string(text), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !open:
			out = append(out, block{file: file, line: i + 2, info: info})
		case open && !fence:
			last := &out[len(out)-1]
			last.text = append(last.text, line)
		}
		if fence {
			open = !open
		}
	}
	if open {
		t.Fatalf("%s: a block is not closed", file)
	}
	return out
}

func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func TestEveryShellLineOfTheDocumentsRuns(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	t.Cleanup(func() { // after the subtests, which are parallel
		if n := ran.Load(); n < 10 {
			t.Errorf("only %d lines were found: the documents have more", n)
		}
	})
	for _, file := range documents(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			ran.Add(int64(runDocument(t, file)))
		})
	}
}

// runDocument runs the lines of a document, and returns how many there are.
func runDocument(t *testing.T, file string) (ran int) {
	t.Helper()
	dir := checkout(t)
	t.Cleanup(func() { endDaemons(t, dir) })
	for _, b := range blocks(t, file) {
		if !runnable(t, b) {
			continue
		}
		for i, line := range b.text {
			ran++
			runLine(t, dir, fmt.Sprintf("%s:%d", filepath.Base(b.file), b.line+i), line)
		}
	}
	return ran
}

// runnable reports whether a block is of lines to run. Where a program that it
// needs (sh needs=NAME) is not installed, it is left out, or the test fails if
// the environment says CI=true.
func runnable(t *testing.T, b block) bool {
	t.Helper()
	needs, ok := strings.CutPrefix(b.info, "sh needs=")
	if !ok {
		return b.info == "sh"
	}
	_, err := exec.LookPath(needs)
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	switch {
	case err != nil && ci:
		t.Errorf("%s:%d needs %s, which is not installed", b.file, b.line, needs)
	case err != nil:
		t.Logf("%s:%d is not run: it needs %s, which is not installed", b.file, b.line, needs)
	}
	return err == nil
}

// endDaemons ends what a line has left running, when a later one that would end
// it was not reached, or did not work.
func endDaemons(t *testing.T, dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
			t.Errorf("%s: process %d is still running", filepath.Base(file), pid)
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// checkout is a directory that looks like the module's, in which a line may
// leave files behind.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "posthorn.yaml" || e.Name() == "posthorn.db" || e.Name() == ".git" {
			continue
		}
		from, err := filepath.Abs(filepath.Join(root, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runLine runs one line as a reader would type it. The test suite is running
// already, so the line that starts it is not run again.
func runLine(t *testing.T, dir, where, line string) {
	t.Helper()
	if line == "make test" || strings.TrimSpace(line) == "" {
		return
	}
	want := 0
	if m := exits.FindStringSubmatch(line); m != nil {
		want, _ = strconv.Atoi(m[1])
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", rooted(t, line))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != want {
		t.Errorf("%s: %s\nexits %d, want %d\n%s", where, line, code, want, out)
	}
}

// rooted makes go work on the module itself: it does not follow links.
func rooted(t *testing.T, line string) string {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if rest, ok := strings.CutPrefix(line, "go build -o "); ok {
		name, pkg, _ := strings.Cut(rest, " ")
		return fmt.Sprintf("here=$PWD; cd %s; go build -o $here/%s %s", abs, name, pkg)
	}
	if strings.HasPrefix(line, "go run ") || strings.HasPrefix(line, "make ") {
		return fmt.Sprintf("cd %s; %s", abs, line)
	}
	return line
}

func TestProgramsOfTheDocumentsAreTheOnesThatAreTested(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if strings.HasPrefix(b.info, "go") {
				checkProgram(t, b)
			}
		}
	}
}

func checkProgram(t *testing.T, b block) {
	t.Helper()
	name, ok := strings.CutPrefix(b.info, "go file=")
	if !ok {
		t.Errorf("%s:%d: a program without a file that is tested", b.file, b.line)
		return
	}
	source, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(source, []byte(strings.Join(b.text, "\n"))) {
		t.Errorf("%s:%d: the program is not the one of %s", b.file, b.line, name)
	}
}
