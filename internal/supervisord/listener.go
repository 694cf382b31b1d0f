// Package supervisord speaks with a running supervisord as one of its event
// listeners does: events arrive on stdin, and its processes are started and
// stopped by XML-RPC on its socket.
//
// Sources: Supervisor's manual, the pages "Events" and "XML-RPC API
// Documentation" (http://supervisord.org/events.html, api.html).
package supervisord

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The events that a watcher of processes asks for.
const (
	EventFatal = "PROCESS_STATE_FATAL" // a process will not be tried again
	tickPrefix = "TICK_"
)

// The bounds of what is read as one event.
const (
	maxHeader  = 4 << 10
	maxPayload = 1 << 20
)

// ErrProtocol is wrapped by errors about input that is no event.
var ErrProtocol = errors.New("not an event of supervisord")

// An Event is one notification.
type Event struct {
	Name   string            // like TICK_60
	Fields map[string]string // of the payload, like groupname; empty if it has none
}

// IsTick reports whether the event only says that time has passed.
func (e Event) IsTick() bool { return strings.HasPrefix(e.Name, tickPrefix) }

// A Listener is the listener's side of the protocol. It is not for concurrent
// use, and nothing else may write to its output.
type Listener struct {
	in  *bufio.Reader
	out io.Writer
}

// NewListener speaks on a listener's stdin and stdout.
func NewListener(in io.Reader, out io.Writer) *Listener {
	return &Listener{in: bufio.NewReaderSize(in, maxHeader), out: out}
}

// Next says that the listener is ready, and waits for an event. It returns
// io.EOF when supervisord has closed the input.
func (l *Listener) Next() (Event, error) {
	if _, err := io.WriteString(l.out, "READY\n"); err != nil {
		return Event{}, fmt.Errorf("say ready: %w", err)
	}
	line, err := l.in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return Event{}, io.EOF
	case errors.Is(err, io.EOF):
		return Event{}, fmt.Errorf("read event: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, bufio.ErrBufferFull):
		return Event{}, fmt.Errorf("read event: %w: a header of more than %d bytes", ErrProtocol, maxHeader)
	case err != nil:
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	header := fields(string(line))
	size, err := strconv.Atoi(header["len"])
	if err != nil || size < 0 || size > maxPayload || header["eventname"] == "" {
		return Event{}, fmt.Errorf("read event: %w: header %q", ErrProtocol, line)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(l.in, payload); err != nil {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	// The payload of some events goes on with data after a line of fields.
	first, _, _ := strings.Cut(string(payload), "\n")
	return Event{Name: header["eventname"], Fields: fields(first)}, nil
}

// Done says that the event has been handled, whatever came of it: supervisord
// sends an event again that is said to have failed.
func (l *Listener) Done() error {
	if _, err := io.WriteString(l.out, "RESULT 2\nOK"); err != nil {
		return fmt.Errorf("acknowledge event: %w", err)
	}
	return nil
}

// fields splits "name:value name:value".
func fields(line string) map[string]string {
	out := map[string]string{}
	for _, word := range strings.Fields(line) {
		if name, value, ok := strings.Cut(word, ":"); ok {
			out[name] = value
		}
	}
	return out
}
