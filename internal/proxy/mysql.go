package proxy

import (
	"bufio"
	"sync/atomic"
)

// Of the MySQL protocol; see "Client/Server Protocol" in the MySQL internals.
const (
	comQuery         = 0x03
	sslRequestLength = 32 // a client's first packet that asks for TLS; a log-in is longer
)

// mysqlSession reads one connection of MySQL. A packet is three bytes of
// length, a sequence number that is 0 where a command starts, and its content.
type mysqlSession struct {
	greeted bool        // the client's first packet has come
	opaque  atomic.Bool // the connection is encrypted
}

// up reads what the client sends.
func (s *mysqlSession) up(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil || s.opaque.Load() {
		return unread(r)
	}
	f, err := mysqlPacket(r)
	if err != nil {
		return f, err
	}
	if !s.greeted {
		s.greeted = true
		s.opaque.Store(f.rest == sslRequestLength)
		return f, nil
	}
	if f.head[3] != 0 || f.rest == 0 || f.rest > maxText {
		return f, nil
	}
	content, err := r.Peek(int(f.rest))
	if err != nil {
		return f, unexpected(err)
	}
	f.commit = content[0] == comQuery && commitText.Match(content[1:])
	return f, nil
}

// down reads what the server sends. It speaks only when asked, so all that
// follows a command is the reply to it.
func (s *mysqlSession) down(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil || s.opaque.Load() {
		return unread(r)
	}
	f, err := mysqlPacket(r)
	f.reply = true
	return f, err
}

func mysqlPacket(r *bufio.Reader) (frame, error) {
	head, err := readHead(r, 4)
	if err != nil {
		return frame{}, err
	}
	return frame{head: head, rest: int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16}, nil
}
