package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/posthorn/posthorn/driver"
)

// The bounds of a batch, which is one transaction of the store.
const (
	batchLines = 500
	batchBytes = 4 << 20
)

// readBuffer is how much of stdin is read at once.
const readBuffer = 256 << 10

// A sending is the state of a dispatch from stdin.
type sending struct {
	*mailing
	in       *lineReader
	progress *progress
	batch    []driver.Envelope
	bytes    int
	sent     int // messages
	upTo     int // lines whose messages have been sent
	output   string

	// busy is held except while the next line is waited for.
	busy sync.Mutex
}

// lines sends a message for each line of stdin.
func (m *mailing) lines(ctx context.Context, output string) error {
	w := &sending{
		mailing: m, in: newLineReader(m.s.io.Stdin, driver.MaxBody), progress: newProgress(m.s, m.s.io.Stdin), output: output,
	}
	w.busy.Lock()
	defer w.busy.Unlock()
	leave := context.AfterFunc(ctx, w.leave)
	err := w.run(ctx)
	leave()
	w.progress.end()
	if err != nil {
		return w.partly(err)
	}
	if w.sent == 0 {
		return &fault{
			Code: "E-NO-INPUT", Title: "nothing to send", What: "stdin has no line that is not blank", Exit: exitNothing,
			Try: "give the body of one message as an argument, for example '{}'",
		}
	}
	m.s.say("sent %s\n", plural(w.sent, "message"))
	return nil
}

// leave ends the process when it is told to stop while it waits for a line: a
// read of stdin cannot be interrupted, and nothing is half done then.
func (w *sending) leave() {
	w.busy.Lock()
	defer w.busy.Unlock()
	if w.s.io.Exit == nil {
		return
	}
	w.progress.end()
	w.s.io.Exit(w.s.report(w.partly(errInterrupted)))
}

func (w *sending) run(ctx context.Context) error {
	for {
		w.busy.Unlock()
		line, err := w.in.next()
		w.busy.Lock()
		if errors.Is(err, io.EOF) {
			return w.flush(ctx)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if len(line) > 0 {
			if err := w.add(line); err != nil {
				return err
			}
		}
		// A line that somebody types, or a program writes, now and then must
		// not wait for a batch to fill.
		if len(w.batch) >= batchLines || w.bytes >= batchBytes || !w.in.more() {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (w *sending) add(line []byte) error {
	env, err := w.seal(bytes.Clone(line))
	if err != nil {
		return err
	}
	w.batch = append(w.batch, env)
	w.bytes += len(line)
	return nil
}

// flush sends the batch.
func (w *sending) flush(ctx context.Context) error {
	if len(w.batch) > 0 {
		if err := w.env.Store.Send(ctx, w.batch...); err != nil {
			return err
		}
		w.sent += len(w.batch)
		if w.output != formTable && w.output != formWide {
			if err := w.s.showSent(oneByOne(w.output), w.batch); err != nil {
				return err
			}
		}
		w.batch, w.bytes = w.batch[:0], 0
	}
	w.upTo = w.in.number
	w.progress.set(w.sent, w.in.read)
	return nil
}

// oneByOne is the form in which an endless list can be written.
func oneByOne(as string) string {
	if as == formName {
		return as
	}
	return formNDJSON
}

// partly says what was sent before the error, so that the rest can be sent
// without sending anything twice.
func (w *sending) partly(err error) error {
	f := *w.s.explainAny(err)
	if f.Code != codeInterrupted {
		f.Where = fmt.Sprintf("stdin:%d", w.in.number)
	}
	if w.sent == 0 {
		f.What += "; nothing was sent"
		f.Exit = max(f.Exit, exitFailed)
		return &f
	}
	f.What += fmt.Sprintf("; sent before: %s, those of the lines 1 to %d", plural(w.sent, "message"), w.upTo)
	f.Try = fmt.Sprintf("go on from line %d: tail -n +%d", w.upTo+1, w.upTo+1)
	f.Exit = exitPartly
	return &f
}

// explainAny is explain that keeps a fault as it is.
func (s *session) explainAny(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return &fault{Code: codeInterrupted, Title: "interrupted", What: "told to stop", Exit: exitFailed, err: err}
	}
	return s.explain(err)
}

// A lineReader reads lines of bounded length.
type lineReader struct {
	r      *bufio.Reader
	limit  int
	number int   // of the line that was read last
	read   int64 // bytes
	line   []byte
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, readBuffer), limit: limit}
}

// next returns the next line without white space around it. It is valid until
// the next call.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.read += int64(len(part))
		l.line = append(l.line, part...)
		if len(l.line) > l.limit+len("\r\n") {
			l.number++
			return nil, fmt.Errorf("%w: a line has more than %d bytes", driver.ErrTooLarge, l.limit)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(l.line) > 0, err == nil:
			l.number++
			return bytes.TrimSpace(l.line), nil
		default:
			return nil, err
		}
	}
}

// more reports whether a next line, or a part of one, has been read already.
func (l *lineReader) more() bool { return l.r.Buffered() > 0 }
