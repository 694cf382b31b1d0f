package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"sync/atomic"
)

// Codes in the place of a protocol version; see "Message Formats" in the
// PostgreSQL manual.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssEncRequest = 80877104
)

// pgSession reads one connection of PostgreSQL. A message is a type byte, its
// length without that byte, and its content; the client's first has no type.
type pgSession struct {
	started    bool            // that first message has come
	deaf       bool            // to requests to cancel
	statements map[string]verb // by name
	portals    map[string]verb // by name: what it runs
	begun      bool            // a transaction, since the last Sync
	wrote      bool            // a statement, since the last Sync

	asked  atomic.Bool // the server's next byte answers a request for encryption
	opaque atomic.Bool // the connection is encrypted
	within atomic.Bool // a transaction was open when the server was last ready
}

// A verb is what a statement does to the transaction.
type verb byte

// The verbs.
const (
	other verb = iota
	commits
	begins
	writes
)

// verbOf tells by the text of a statement.
func verbOf(text []byte) verb {
	switch {
	case commitText.Match(text):
		return commits
	case beginText.Match(text):
		return begins
	case writeText.Match(text):
		return writes
	}
	return other
}

// up reads what the client sends.
func (s *pgSession) up(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil || s.opaque.Load() {
		return unread(r)
	}
	if !s.started {
		return s.startup(r)
	}
	f, content, err := pgMessage(r)
	if err == nil {
		f.commit = s.asks(f.head[0], content)
	}
	return f, err
}

// startup reads a message without a type. A request for encryption comes
// before the one that starts the session.
func (s *pgSession) startup(r *bufio.Reader) (frame, error) {
	head, err := readHead(r, 8)
	if err != nil {
		return frame{}, err
	}
	switch code := binary.BigEndian.Uint32(head[4:]); {
	case code == sslRequest || code == gssEncRequest:
		s.asked.Store(true)
	case code == cancelRequest && s.deaf:
		return frame{}, io.EOF
	default:
		s.started = true
	}
	return frame{head: head, rest: int64(binary.BigEndian.Uint32(head)) - 8}, nil
}

// asks reports whether a message asks for a COMMIT, and keeps what later
// messages refer to. A Sync asks for one when it ends a pipeline that has written
// outside a transaction ("Pipelining" in the PostgreSQL manual).
func (s *pgSession) asks(kind byte, content []byte) bool {
	first, more, _ := bytes.Cut(content, []byte{0})
	second, _, whole := bytes.Cut(more, []byte{0})
	switch kind {
	case 'Q': // simple query
		return commitText.Match(first)
	case 'P': // parse: statement, text
		s.statements[string(first)] = other
		if whole || writeText.Match(second) {
			s.statements[string(first)] = verbOf(second)
		}
	case 'B': // bind: portal, statement
		s.portals[string(first)] = s.statements[string(second)]
	case 'E': // execute: portal
		v := s.portals[string(first)]
		s.begun, s.wrote = s.begun || v == begins, s.wrote || v == writes
		return v == commits
	case 'S': // sync
		alone := s.wrote && !s.begun && !s.within.Load()
		s.begun, s.wrote = false, false
		return alone
	}
	return false
}

// down reads what the server sends.
func (s *pgSession) down(r *bufio.Reader) (frame, error) {
	first, err := r.Peek(1)
	if err != nil || s.opaque.Load() {
		return unread(r)
	}
	if s.asked.CompareAndSwap(true, false) && first[0] != 'E' {
		s.opaque.Store(first[0] == 'S' || first[0] == 'G')
		head, err := readHead(r, 1)
		return frame{head: head}, err
	}
	f, content, err := pgMessage(r)
	if err == nil {
		f.reply = ends(f.head[0], content)
		if f.head[0] == 'Z' && len(content) > 0 { // ready
			s.within.Store(content[0] != 'I')
			f.reply = true
		}
	}
	return f, err
}

// ends reports whether a message is a reply to a COMMIT: its completion, which
// is that of a ROLLBACK if the transaction had failed, or an error. So is that the
// server is ready again.
func ends(kind byte, content []byte) bool {
	tag, _, _ := bytes.Cut(content, []byte{0})
	return kind == 'E' || kind == 'C' && (string(tag) == "COMMIT" || string(tag) == "ROLLBACK")
}

// pgMessage reads the head of a message, and shows the start of its content
// without reading it.
func pgMessage(r *bufio.Reader) (frame, []byte, error) {
	head, err := readHead(r, 5)
	if err != nil {
		return frame{}, nil, err
	}
	f := frame{head: head, rest: int64(binary.BigEndian.Uint32(head[1:])) - 4}
	if f.rest < 0 {
		return f, nil, io.ErrUnexpectedEOF
	}
	content, err := r.Peek(int(min(f.rest, maxText)))
	return f, content, unexpected(err)
}
