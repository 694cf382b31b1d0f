package supervisor

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of what waits to be written.
const (
	lossyLines = 512
	lossyBytes = 4 << 20
)

// flushWithin bounds the wait for the last lines when a writer is closed.
const flushWithin = time.Second

// A LossyWriter writes lines to a place that may be full, closed or slow, and
// never lets who writes to it wait or fail: what does not fit is dropped and
// counted. When the place takes lines again, the first says how many are
// missing.
type LossyWriter struct {
	w      io.Writer
	report func(error)
	queue  chan []byte
	done   chan struct{} // closed when everything has been written
	wg     sync.WaitGroup

	mu      sync.Mutex
	waiting int // bytes
	lost    int64
	total   int64
	closed  bool
}

// NewLossyWriter writes to w. Report hears of an error once, until a write has
// succeeded again; it may be nil, and must not write to this writer.
func NewLossyWriter(w io.Writer, report func(error)) *LossyWriter {
	if report == nil {
		report = func(error) {}
	}
	l := &LossyWriter{w: w, report: report, queue: make(chan []byte, lossyLines), done: make(chan struct{})}
	l.wg.Go(l.drain)
	return l
}

// Write takes whole lines. It returns at once, and no error.
func (l *LossyWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.waiting+len(p) > lossyBytes {
		l.drop(1)
		return len(p), nil
	}
	select {
	case l.queue <- append([]byte(nil), p...):
		l.waiting += len(p)
	default:
		l.drop(1)
	}
	return len(p), nil
}

func (l *LossyWriter) drop(n int64) { l.lost, l.total = l.lost+n, l.total+n }

// Lost is how many writes have been dropped in all.
func (l *LossyWriter) Lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

func (l *LossyWriter) drain() {
	defer close(l.done)
	failing, torn := false, false
	for line := range l.queue {
		lost, n := l.take(len(line)), 0
		err := l.confess(lost, torn)
		if err == nil {
			lost = 0
			n, err = l.w.Write(line)
			torn = err != nil && n > 0
		}
		if err != nil {
			l.putBack(lost)
			if !failing {
				l.report(err)
			}
		}
		failing = err != nil
	}
}

// take notes that a line leaves the queue. It returns how many are missing
// before it.
func (l *LossyWriter) take(n int) (lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting -= n
	lost, l.lost = l.lost, 0
	return lost
}

// putBack counts a line that could not be written, and those before it whose
// loss could not be told.
func (l *LossyWriter) putBack(lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost += lost
	l.drop(1)
}

// confess says how many lines are missing, after one of which there may be a
// part.
func (l *LossyWriter) confess(lost int64, torn bool) error {
	if lost == 0 {
		return nil
	}
	end := ""
	if torn {
		end = "\n"
	}
	_, err := fmt.Fprintf(l.w, "%s[%d lines lost here]\n", end, lost)
	return err
}

// Close writes what waits, for a bounded time: a place that hangs is left
// behind. It does not close what it writes to.
func (l *LossyWriter) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	over := time.NewTimer(flushWithin)
	defer over.Stop()
	select {
	case <-l.done:
		l.wg.Wait()
		return nil
	case <-over.C:
		return fmt.Errorf("flush log: %w", errHangs)
	}
}
