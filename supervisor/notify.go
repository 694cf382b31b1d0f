package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a process may say at once, and of what is kept of it.
const (
	maxDatagram = 4096
	maxLines    = 32
	maxValue    = 1024
	maxFields   = 16
	maxKey      = 64
)

// fieldPrefix begins the names of the fields that are kept for the observer.
const fieldPrefix = "X_POSTHORN_"

// errNotice is the error of a datagram that is not what sd_notify(3) describes.
var errNotice = errors.New("malformed notification")

// Notify sends lines like READY=1 to a socket as sd_notify(3) describes it: the
// address is that of NOTIFY_SOCKET, in which a leading @ means an abstract one.
// An empty address is nobody, and no error.
func Notify(socket string, lines ...string) error {
	if socket == "" || len(lines) == 0 {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyWithin)); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// notifyWithin bounds the wait for a parent that does not listen.
const notifyWithin = time.Second

// ParseNotice reads one datagram. All of it is refused if any of it is
// malformed: a line without =, a name of other letters than A-Z, 0-9 and _,
// a value with control characters, or too much of anything.
func ParseNotice(datagram []byte) (map[string]string, error) {
	if len(datagram) > maxDatagram {
		return nil, fmt.Errorf("%w: more than %d bytes", errNotice, maxDatagram)
	}
	fields := map[string]string{}
	lines := bytes.Split(bytes.TrimSuffix(datagram, []byte("\n")), []byte("\n"))
	if len(lines) > maxLines {
		return nil, fmt.Errorf("%w: more than %d lines", errNotice, maxLines)
	}
	for i, line := range lines {
		key, value, found := strings.Cut(string(line), "=")
		if !found || !fieldName(key) {
			return nil, fmt.Errorf("%w: line %d has no name", errNotice, i+1)
		}
		if len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, fmt.Errorf("%w: the value of line %d", errNotice, i+1)
		}
		fields[key] = value
	}
	return fields, nil
}

func fieldName(s string) bool {
	return s != "" && len(s) <= maxKey && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// A mailbox takes what one process says. Its reader never waits for the
// supervisor: a process must not hang because its supervisor is busy.
type mailbox struct {
	conn *net.UnixConn
	path string
	wg   sync.WaitGroup
	news chan struct{} // something was said

	mu      sync.Mutex
	ready   bool
	pinged  bool
	told    bool // fields have changed
	status  string
	fields  map[string]string
	bad     error // of the first datagram that was refused
	badTold bool
}

// openMailbox listens at a path and reads until the mailbox is closed.
func openMailbox(path string) (*mailbox, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	m := &mailbox{conn: conn, path: path, news: make(chan struct{}, 1), fields: map[string]string{}}
	m.wg.Go(m.read)
	return m, nil
}

func (m *mailbox) read() {
	buf := make([]byte, maxDatagram+1)
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			return
		}
		fields, err := ParseNotice(buf[:n])
		m.take(fields, err)
		poke(m.news)
	}
}

func (m *mailbox) take(fields map[string]string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if m.bad == nil {
			m.bad = err
		}
		return
	}
	m.ready = m.ready || fields["READY"] == "1"
	m.pinged = m.pinged || fields["WATCHDOG"] == "1"
	if status, ok := fields["STATUS"]; ok {
		m.status = status
	}
	for key, value := range fields {
		_, known := m.fields[key]
		if !strings.HasPrefix(key, fieldPrefix) || !known && len(m.fields) >= maxFields || m.fields[key] == value {
			continue
		}
		m.fields[key], m.told = value, true
	}
}

// news are the things that a process has said since the last look.
type news struct {
	ready, pinged, told bool
	bad                 error
}

// look returns what is new.
func (m *mailbox) look() news {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := news{ready: m.ready, pinged: m.pinged, told: m.told}
	if m.bad != nil && !m.badTold {
		n.bad, m.badTold = m.bad, true
	}
	m.pinged, m.told = false, false
	return n
}

// said is what has been said in all.
func (m *mailbox) said() (status string, fields map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, maps.Clone(m.fields)
}

// close ends the reading, after what has arrived already.
func (m *mailbox) close() {
	_ = m.conn.SetReadDeadline(time.Now().Add(lastWords))
	m.wg.Wait()
	_ = m.conn.Close()
	_ = os.Remove(m.path)
}

// lastWords is how long what a dead process has sent may take to be read.
const lastWords = 20 * time.Millisecond

// poke wakes who listens to a channel with room for one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it will wake already
	}
}
