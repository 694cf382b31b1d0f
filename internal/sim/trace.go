package sim

import (
	"fmt"
	"io"
	"time"
)

// tailLines is how many lines a failed run shows.
const tailLines = 60

// A trace is what has happened: a hash of all of it, and its last lines.
type trace struct {
	hash  uint64
	lines int
	buf   []byte
	tail  [tailLines][]byte
	out   io.Writer // gets each line; nil: nobody does
}

// The constants of FNV-1a, 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// note adds a line.
func (t *trace) note(at time.Duration, format string, args ...any) {
	t.buf = fmt.Appendf(t.buf[:0], "%10.3fs  ", at.Seconds())
	t.buf = append(fmt.Appendf(t.buf, format, args...), '\n')
	for _, b := range t.buf {
		t.hash = (t.hash ^ uint64(b)) * fnvPrime
	}
	slot := t.lines % tailLines
	t.tail[slot] = append(t.tail[slot][:0], t.buf...)
	t.lines++
	if t.out != nil {
		_, _ = t.out.Write(t.buf)
	}
}

// last are the last lines.
func (t *trace) last() string {
	var out []byte
	for i := max(0, t.lines-tailLines); i < t.lines; i++ {
		out = append(out, t.tail[i%tailLines]...)
	}
	return string(out)
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) { w.trace.note(w.now, format, args...) }
