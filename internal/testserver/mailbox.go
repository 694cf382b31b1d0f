//go:build linux || darwin

package testserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// A Mailbox is a server that takes mail for tests: SMTP (RFC 5321) with STARTTLS (RFC 3207)
// and AUTH PLAIN (RFC 4954).
type Mailbox struct {
	Addr string

	tls      *tls.Config // nil: it offers no STARTTLS
	login    string      // user, zero byte, password; empty: nobody has to log in
	listener net.Listener

	mu    sync.Mutex
	mails []Mail
	deny  string // answer to DATA; empty takes it
	open  map[net.Conn]bool
	wg    sync.WaitGroup
}

// A Mail is one that was taken.
type Mail struct {
	From      string
	To        []string
	Data      string
	Encrypted bool
	User      string
}

// StartMailbox starts a Mailbox that ends with the test. config lets it speak TLS, and with a
// user it wants to see the password.
func StartMailbox(t Test, config *tls.Config, user, password string) *Mailbox {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mailbox{Addr: l.Addr().String(), tls: config, listener: l, open: map[net.Conn]bool{}}
	if user != "" {
		m.login = user + "\x00" + password
	}
	m.wg.Go(m.accept)
	t.Cleanup(m.close)
	return m
}

// Mails are those that were taken so far.
func (m *Mailbox) Mails() []Mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mails)
}

// Deny makes it answer each mail so, like "451 come again"; empty takes mail again.
func (m *Mailbox) Deny(answer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deny = answer
}

func (m *Mailbox) close() {
	_ = m.listener.Close()
	m.mu.Lock()
	for conn := range m.open {
		_ = conn.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

func (m *Mailbox) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.open[conn] = true
		m.mu.Unlock()
		m.wg.Go(func() {
			(&letterbox{box: m, conn: conn}).serve()
			_ = conn.Close()
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.open, conn)
		})
	}
}

// A letterbox is one conversation.
type letterbox struct {
	box  *Mailbox
	conn net.Conn
	text *textproto.Reader
	mail Mail
}

func (l *letterbox) say(line string) { _, _ = fmt.Fprintf(l.conn, "%s\r\n", line) }

// serve talks until the client goes.
func (l *letterbox) serve() {
	l.text = textproto.NewReader(bufio.NewReader(l.conn))
	l.say("220 mailbox ESMTP")
	for {
		line, err := l.text.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			l.greet()
		case "STARTTLS":
			if !l.encrypt() {
				return
			}
		case "AUTH":
			l.authenticate(rest)
		case "MAIL":
			l.from(rest)
		case "RCPT":
			l.mail.To = append(l.mail.To, address(rest))
			l.say("250 ok")
		case "DATA":
			l.data()
		case "QUIT":
			l.say("221 bye")
			return
		default: // RSET, NOOP
			l.say("250 ok")
		}
	}
}

func (l *letterbox) greet() {
	l.say("250-mailbox")
	if l.box.tls != nil && !l.mail.Encrypted {
		l.say("250-STARTTLS")
	}
	if l.box.login != "" {
		l.say("250-AUTH PLAIN")
	}
	l.say("250 8BITMIME")
}

func (l *letterbox) encrypt() bool {
	if l.box.tls == nil {
		l.say("502 no")
		return true
	}
	l.say("220 go ahead")
	conn := tls.Server(l.conn, l.box.tls)
	if conn.HandshakeContext(context.Background()) != nil {
		return false
	}
	l.conn, l.text, l.mail = conn, textproto.NewReader(bufio.NewReader(conn)), Mail{Encrypted: true}
	return true
}

func (l *letterbox) authenticate(rest string) {
	_, text, _ := strings.Cut(rest, " ")
	plain, err := base64.StdEncoding.DecodeString(text)
	_, login, _ := strings.Cut(string(plain), "\x00")
	if err != nil || login != l.box.login {
		l.say("535 " + string(plain) + " is wrong") // as rude as a server can be
		return
	}
	l.mail.User, _, _ = strings.Cut(login, "\x00")
	l.say("235 welcome")
}

func (l *letterbox) from(rest string) {
	if l.box.login != "" && l.mail.User == "" {
		l.say("530 log in")
		return
	}
	l.mail.From, l.mail.To = address(rest), nil
	l.say("250 ok")
}

func (l *letterbox) data() {
	l.say("354 go ahead")
	data, err := io.ReadAll(l.text.DotReader())
	if err != nil {
		return
	}
	l.mail.Data = string(data)
	l.box.mu.Lock()
	deny := l.box.deny
	if deny == "" {
		l.box.mails = append(l.box.mails, l.mail)
	}
	l.box.mu.Unlock()
	if deny == "" {
		deny = "250 taken"
	}
	l.say(deny)
}

// address is what stands between the brackets of FROM:<a@b> and TO:<a@b>.
func address(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
