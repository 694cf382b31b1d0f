package proxy

import (
	"bufio"
	"errors"
	"io"
	"regexp"
)

// A Protocol says how to find a COMMIT in a connection.
type Protocol int

// The protocols. A connection that changes to TLS is forwarded unread.
const (
	Plain       Protocol = iota // bytes without a meaning
	PostgreSQL                  // version 3.0, which all servers since 7.4 speak
	MySQL                       // also MariaDB; not its compressed form
	Uncancelled                 // PostgreSQL without its requests to cancel a statement, which go nowhere
)

// commitText is all that asks for nothing but a COMMIT.
var commitText = regexp.MustCompile(`(?i)^\s*(commit|end)(\s+(work|transaction))?\s*;?\s*$`)

// beginText and writeText are how statements start that begin a transaction, and
// that may change something.
var (
	beginText = regexp.MustCompile(`(?i)^\s*(begin|start)\b`)
	writeText = regexp.MustCompile(`(?i)^\s*(insert|update|delete|with)\b`)
)

// maxText bounds what is looked at of a statement with its name, to tell
// whether it is a COMMIT.
const maxText = 512

// splitters returns how to read what the client sends, and what the server
// sends, on a new connection.
func (p Protocol) splitters() (up, down splitter) {
	switch p {
	case PostgreSQL, Uncancelled:
		s := &pgSession{statements: map[string]verb{}, portals: map[string]verb{}, deaf: p == Uncancelled}
		return s.up, s.down
	case MySQL:
		s := &mysqlSession{}
		return s.up, s.down
	default:
		return unread, unread
	}
}

// unread forwards what has come.
func unread(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil {
		return frame{}, err
	}
	head := make([]byte, r.Buffered())
	_, err := io.ReadFull(r, head)
	return frame{head: head}, err
}

// readHead reads the n bytes that a frame starts with.
func readHead(r *bufio.Reader, n int) ([]byte, error) {
	head := make([]byte, n)
	_, err := io.ReadFull(r, head)
	return head, err
}

// unexpected tells an end within a frame from one between frames.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
