package proxy

import (
	"bufio"
	"encoding/binary"
	"regexp"
	"sync/atomic"
)

// Of the MySQL protocol; see "Client/Server Protocol" in the MySQL internals.
const (
	comQuery         = 0x03
	sslRequestLength = 32 // a client's first packet that asks for TLS; a log-in is longer

	headOK      = 0x00
	headEOF     = 0xfe // a row that begins so is longer than 16 MB
	headErr     = 0xff
	lengthEOF   = 5
	leastOK     = 7      // two numbers, and two of two bytes
	moreResults = 0x0008 // a flag of the status: those of another statement follow
)

// commitLast is the end of a text of which the last statement is a COMMIT.
var commitLast = regexp.MustCompile(`(?i)(^|;)\s*commit(\s+work)?\s*;?\s*$`)

// tailLength is how much of a long text is looked at, at its end.
const tailLength = 64

// mysqlSession reads one connection of MySQL. A packet is three bytes of
// length, a sequence number that is 0 where a command starts, and its content.
type mysqlSession struct {
	greeted bool        // the client's first packet has come
	tail    int         // bytes of a packet that is forwarded but for them
	opaque  atomic.Bool // the connection is encrypted
	queries atomic.Bool // the last command was a query; only its reply is read
	asked   atomic.Bool // it has come, and its reply has not begun
	reply   mysqlReply
}

// up reads what the client sends.
func (s *mysqlSession) up(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil || s.opaque.Load() {
		return unread(r)
	}
	if s.tail > 0 {
		return s.end(r)
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
	if f.head[3] != 0 || f.rest == 0 {
		return f, nil
	}
	kind, err := r.Peek(1)
	if err != nil {
		return f, unexpected(err)
	}
	query := kind[0] == comQuery
	s.queries.Store(query)
	s.asked.Store(true)
	if !query {
		return f, nil
	}
	if f.rest > maxText {
		s.tail = tailLength
		f.rest -= tailLength
		return f, nil
	}
	content, err := r.Peek(int(f.rest))
	if err != nil {
		return f, unexpected(err)
	}
	f.commit = commitLast.Match(content[1:])
	return f, nil
}

// end reads the end of a long query: whoever cuts before it has sent a packet that is not whole, of
// which the server runs nothing.
func (s *mysqlSession) end(r *bufio.Reader) (frame, error) {
	head, err := readHead(r, s.tail)
	s.tail = 0
	return frame{head: head, commit: commitLast.Match(head)}, err
}

// down reads what the server sends. It speaks only when asked, so all that
// follows a command is the reply to it.
func (s *mysqlSession) down(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil || s.opaque.Load() {
		return unread(r)
	}
	f, err := mysqlPacket(r)
	if err != nil || !s.queries.Load() {
		return f, err
	}
	content, err := r.Peek(int(min(f.rest, 32)))
	if err != nil {
		return f, unexpected(err)
	}
	if s.asked.Swap(false) {
		s.reply = mysqlReply{}
	}
	f.reply = s.reply.ends(content, f.rest)
	return f, nil
}

// mysqlReply reads the reply to a command: the result of each of its statements, which is a packet
// that says OK, or columns and rows with a packet at their end. An older form has a packet after the
// columns, too, and other ones at both ends.
type mysqlReply struct {
	columns uint64 // that are still to come
	rows    bool   // the columns have come
	parted  bool   // from the rows, in the older form
}

// ends reports whether a packet of that length, which begins so, is the last one.
func (p *mysqlReply) ends(content []byte, length int64) bool {
	if length == 0 {
		return false
	}
	last := content[0] == headEOF && length < 1<<24-1
	switch {
	case content[0] == headErr:
		return true
	case p.columns > 0:
		p.columns--
	case p.rows && last && length == lengthEOF && !p.parted:
		p.parted = true
	case p.rows && last && length == lengthEOF:
		*p = mysqlReply{}
		return binary.LittleEndian.Uint16(content[3:])&moreResults == 0
	case p.rows && !last:
	case (p.rows || content[0] == headOK) && len(content) < leastOK: // it is none of these
		return true
	case p.rows, content[0] == headOK:
		*p = mysqlReply{}
		_, at := number(content, 1)
		_, at = number(content, at)
		return binary.LittleEndian.Uint16(content[at:])&moreResults == 0
	default:
		p.columns, _ = number(content, 0)
		p.rows = true
	}
	return false
}

// number reads a number whose first byte says how long it is, and returns where the next one begins.
func number(content []byte, at int) (n uint64, next int) {
	size := map[byte]int{0xfc: 2, 0xfd: 3, 0xfe: 8}[content[at]]
	if size == 0 {
		return uint64(content[at]), at + 1
	}
	for i := range size {
		n |= uint64(content[at+1+i]) << (8 * i)
	}
	return n, at + 1 + size
}

func mysqlPacket(r *bufio.Reader) (frame, error) {
	head, err := readHead(r, 4)
	if err != nil {
		return frame{}, err
	}
	return frame{head: head, rest: int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16}, nil
}
