package supervisor_test

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn/supervisor"
)

// lines of a text, without their ends.
func lines(text string) iter.Seq[string] {
	return strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n")
}

func count(text, line string) int {
	n := 0
	for l := range lines(text) {
		if l == line {
			n++
		}
	}
	return n
}

// page is a place for lines that can be closed, full or stuck.
type page struct {
	mu    sync.Mutex
	text  strings.Builder
	err   error
	tries int
	stuck chan struct{} // nil: it is not
}

// Write fails, hangs or writes.
func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	if p.err != nil {
		return 0, p.err
	}
	return p.text.Write(b)
}

func (p *page) fail(err error) { p.mu.Lock(); defer p.mu.Unlock(); p.err = err }

func (p *page) tried() int { p.mu.Lock(); defer p.mu.Unlock(); return p.tries }

func (p *page) String() string { p.mu.Lock(); defer p.mu.Unlock(); return p.text.String() }

func TestLinesGoToTheConsoleEscapedAndWithTheirOrigin(t *testing.T) {
	var out, errs page
	p := child("p", "print:a\x1b[31mb complain:c exit:0")
	p.Prefix = true
	r := start(t, supervisor.Options{Stdout: &out, Stderr: &errs, Escape: func(s string) string {
		return strings.ReplaceAll(s, "\x1b", `\x1b`)
	}}, p)
	pid := 0
	until(t, "an exit", func() bool { return len(r.seen(supervisor.KindExited)) > 0 })
	pid = r.seen(supervisor.KindExited)[0].PID
	if want := fmt.Sprintf(`p/0[%d] a\x1b[31mb`, pid); count(out.String(), want) != 1 {
		t.Errorf("no line %q in\n%s", want, out.String())
	}
	if want := fmt.Sprintf(`p/0[%d] c`, pid); count(errs.String(), want) != 1 {
		t.Errorf("no line %q in\n%s", want, errs.String())
	}
}

func TestFilesAreRotatedBySizeAndSoManyAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	r := start(t, supervisor.Options{Logs: supervisor.Logs{Dir: dir, Size: 10_000, Keep: 2}},
		handshaking("p", "flood:400 complain:x ready wait"))
	r.awaitReady(1)
	r.end()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 4 { // p.log, two put aside, p.err.log
		t.Fatalf("files %v, %v", found, err)
	}
	for _, file := range found {
		info, err := os.Stat(file)
		if err != nil || info.Size() > 10_000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %s, %v", file, info.Size(), info.Mode(), err)
		}
	}
	last, err := os.ReadFile(filepath.Join(dir, "p.log"))
	if err != nil || !strings.Contains(string(last), "line 399 of a flood") {
		t.Errorf("the last line is not in the newest file: %v", err)
	}
}

func TestAnOldFileIsPutAside(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.log")
	if err := os.WriteFile(file, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	r := start(t, supervisor.Options{Logs: supervisor.Logs{Dir: dir, Age: 24 * time.Hour}},
		handshaking("p", "print:new ready wait"))
	r.awaitReady(1)
	r.end()
	for name, want := range map[string]string{file: "new\n", file + ".1": "old\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
}

func TestALossyWriterReportsOnceAndSaysWhatIsMissing(t *testing.T) {
	var to page
	var reports []error
	w := supervisor.NewLossyWriter(&to, func(err error) { reports = append(reports, err) })
	write := func(n int) {
		for i := range n {
			before := to.tried()
			if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
				t.Fatal(err)
			}
			until(t, "the line's try", func() bool { return to.tried() > before })
		}
	}
	to.fail(syscall.EPIPE)
	write(3)
	to.fail(nil)
	write(2)
	to.fail(syscall.ENOSPC)
	write(1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("late\n")); err != nil {
		t.Errorf("a late write: %v", err)
	}
	if got, want := to.String(), "[3 lines lost here]\nline 0\nline 1\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
	if len(reports) != 2 || !errors.Is(reports[0], syscall.EPIPE) || !errors.Is(reports[1], syscall.ENOSPC) {
		t.Errorf("reported %v", reports)
	}
	if n := w.Lost(); n != 5 {
		t.Errorf("%d lost, want 5", n)
	}
}

func TestAPlaceThatHangsHoldsUpNoProcess(t *testing.T) {
	to := &page{stuck: make(chan struct{})}
	w := supervisor.NewLossyWriter(to, nil)
	r := start(t, supervisor.Options{Stdout: w, Stderr: w}, handshaking("p", "flood:20000 ready wait"))
	r.awaitReady(1)
	r.end()
	if err := w.Close(); err == nil {
		t.Error("Close of a place that hangs reports nothing")
	}
	if w.Lost() == 0 {
		t.Error("nothing was lost: the test shows nothing")
	}
	close(to.stuck)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestLongLinesAreBrokenBetweenCharacters(t *testing.T) {
	in := "x" + strings.Repeat("é", 20_000) + "\nshort\n\nno end"
	var got []string
	supervisor.ReadLines(strings.NewReader(in), func(line string) { got = append(got, line) })
	for _, line := range got {
		if len(line) > 8<<10+utf8.UTFMax || !utf8.ValidString(line) {
			t.Errorf("a line of %d bytes, valid: %v", len(line), utf8.ValidString(line))
		}
	}
	n := len(got)
	joined, rest := strings.Join(got[:n-3], ""), strings.Join(got[n-3:], "|")
	if joined+"\n" != in[:len(joined)+1] || rest != "short||no end" {
		t.Errorf("%d lines, ending in %q", n, got[max(0, n-3):])
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb", 3)
	f.Add(strings.Repeat("é", 9000), 1)
	f.Add("\xc3\n\xa9", 1)
	f.Fuzz(func(t *testing.T, text string, step int) {
		var got strings.Builder
		supervisor.ReadLines(&slow{text, max(1, step)}, func(line string) {
			if strings.Contains(line, "\n") {
				t.Fatal("a line holds a line break")
			}
			got.WriteString(line)
		})
		if got.String() != strings.ReplaceAll(text, "\n", "") {
			t.Fatalf("%q became %q", text, got.String())
		}
	})
}

// slow reads in small pieces.
type slow struct {
	text string
	step int
}

// Read returns the next piece.
func (s *slow) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	n := copy(p, s.text[:min(s.step, len(s.text))])
	s.text = s.text[n:]
	return n, nil
}
