package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// redrawEvery bounds how often progress is drawn.
const redrawEvery = 100 * time.Millisecond

// A progress is the line on a terminal that says how far long work is. Off a
// terminal it is silent.
type progress struct {
	s     *session
	on    bool
	total int64 // bytes or things; 0 means unknown
	noun  string
	began time.Time
	drawn time.Time
	done  int
}

// newProgress counts messages; if in is a file its size tells how far it is.
func newProgress(s *session, in io.Reader) *progress {
	p := &progress{s: s, on: s.talksToTerminal(), noun: "sent", began: time.Now()}
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.total = info.Size()
		}
	}
	return p
}

// talksToTerminal reports whether stderr is a terminal that can redraw a line.
func (s *session) talksToTerminal() bool {
	term, _ := s.lookup("TERM")
	return s.io.StderrTerminal && term != "dumb"
}

// set draws where the work is: done things, at a position within the total.
func (p *progress) set(done int, position int64) {
	p.done = done
	if !p.on || time.Since(p.drawn) < redrawEvery {
		return
	}
	p.drawn = time.Now()
	took := time.Since(p.began).Seconds()
	line := fmt.Sprintf("%s %d  %.0f/s", p.noun, done, float64(done)/max(took, 0.001))
	if p.total > 0 {
		part := min(float64(position)/float64(p.total), 1)
		const width = 24
		full := int(part * width)
		left := time.Duration(took / max(part, 0.001) * (1 - part) * float64(time.Second)).Round(time.Second)
		line = fmt.Sprintf("[%s%s] %3.0f %%  %s  %s left",
			strings.Repeat("#", full), strings.Repeat(".", width-full), 100*part, line, left)
	}
	_, _ = io.WriteString(p.s.io.Stderr, "\r"+line+"\x1b[K")
}

// end removes the line.
func (p *progress) end() {
	if p.on && !p.drawn.IsZero() {
		_, _ = io.WriteString(p.s.io.Stderr, "\r\x1b[K")
	}
}
