package supervisor

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of the lines of processes.
const (
	maxLine  = 8 << 10 // bytes; what is longer is broken into several lines
	keptTail = 20      // lines of evidence
	tailLine = 1 << 10 // bytes of each of them
)

// readLines hands on each line of r without its end, until r ends or is closed.
func readLines(r io.Reader, take func(string)) {
	buf := bufio.NewReaderSize(r, maxLine)
	kept := "" // the beginning of a character that was cut
	for {
		chunk, err := buf.ReadSlice('\n')
		text, whole := kept+string(chunk), err == nil
		kept = ""
		if whole {
			text = text[:len(text)-1]
		} else if errors.Is(err, bufio.ErrBufferFull) {
			text, kept = cutRune(text)
		}
		if whole || text != "" {
			take(text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// cutRune keeps the last character of a text whole: it returns apart what may
// be the beginning of one.
func cutRune(text string) (whole, begun string) {
	for i := len(text) - 1; i >= max(0, len(text)-utf8.UTFMax); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRuneInString(text[i:]) {
				return text[:i], text[i:]
			}
			break
		}
	}
	return text, ""
}

// A tail is the last lines of a stream, and the one with which a crash began: a
// Go program that dies says why first, and then where each goroutine was.
type tail struct {
	mu      sync.Mutex
	lines   []string
	first   string // of the crash
	since   int    // lines after it
	starved bool
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line = line[:min(len(line), tailLine)]
	t.since++
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		t.first, t.since = line, 0
	}
	t.starved = t.starved || saysStarved(line)
	if len(t.lines) == keptTail {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// saysStarved knows what Go, C and PHP say when there is no memory.
func saysStarved(line string) bool {
	return strings.HasPrefix(line, "fatal error: ") && strings.Contains(line, "out of memory") ||
		strings.Contains(strings.ToLower(line), "cannot allocate memory") ||
		strings.Contains(line, "Fatal error: Allowed memory size of")
}

func (t *tail) starving() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.starved
}

// all returns the lines, escaped.
func (t *tail) all(escape func(string) string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.lines)
	if t.first != "" && t.since >= len(out) {
		out[0] = t.first // it has gone by
	}
	for i := range out {
		out[i] = escape(out[i])
	}
	return out
}

// A stream is one of the two outputs of a process.
type stream string

// The streams, by the ends of their files' names.
const (
	streamOut stream = ".log"
	streamErr stream = ".err.log"
)

// A scribe writes the lines of all processes to where they belong.
type scribe struct {
	o   Options
	log *slog.Logger

	mu    sync.Mutex
	files map[string]*outlet
}

// An outlet is a file of lines.
type outlet struct {
	lossy *LossyWriter
	file  *rotator
}

func newScribe(o Options) *scribe { return &scribe{o: o, log: o.Log, files: map[string]*outlet{}} }

// outlet returns where lines of a program's stream go.
func (s *scribe) outlet(p *Program, to stream) io.Writer {
	switch {
	case s.o.Logs.Dir != "":
		return s.file(p.Name + string(to))
	case to == streamOut:
		return s.o.Stdout
	}
	return s.o.Stderr
}

func (s *scribe) file(name string) io.Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[name] == nil {
		r := &rotator{path: filepath.Join(s.o.Logs.Dir, name), logs: s.o.Logs, now: time.Now}
		report := func(err error) { s.log.Error("log file refuses lines: they are dropped", "file", r.path, "error", err) }
		s.files[name] = &outlet{lossy: NewLossyWriter(r, report), file: r}
	}
	return s.files[name].lossy
}

// close writes what waits and closes the files.
func (s *scribe) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[name]
		if err := f.lossy.Close(); err != nil {
			s.log.Error("log file hangs", "file", f.file.path, "error", err)
			continue // its writer may still use the file
		}
		_ = f.file.Close()
	}
}

// copyStream writes the lines of a stream, each in one piece.
func (s *scribe) copyStream(r *os.File, prefix string, to io.Writer, last *tail) {
	readLines(r, func(line string) {
		if last != nil {
			last.add(line)
		}
		_, _ = to.Write([]byte(prefix + s.o.Escape(line) + "\n")) // never waits, never fails
	})
}
