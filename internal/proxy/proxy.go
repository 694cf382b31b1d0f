// Package proxy stands between a program and a server, on the loopback
// address, and does to their connections what networks do: it cuts, refuses,
// delays and freezes them. It understands so much of the protocols of
// PostgreSQL and MySQL that it can cut a connection just before, or just after,
// a COMMIT reached the server.
package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialWithin bounds the connection to the target.
const dialWithin = 5 * time.Second

// Counts are what a proxy has seen and done.
type Counts struct {
	Accepted  int // connections that came
	Open      int // connections that stand now
	Cut       int // connections that Cut cut
	Commits   int // COMMITs that came, those that were cut included
	CutBefore int // COMMITs that the server never got
	CutAfter  int // COMMITs whose reply the client never got
}

// A Test is what New needs of a testing.TB, so that a program with a proxy does
// not carry package testing.
type Test interface {
	Helper()
	Fatal(args ...any)
	Errorf(format string, args ...any)
	Cleanup(fn func())
}

// A Proxy forwards connections to a target. Its methods may be called
// concurrently, also from goroutines that are not the test's own.
type Proxy struct {
	report   func(error) // of what went wrong with the proxy itself
	protocol Protocol
	target   string
	addr     string

	wg       sync.WaitGroup // of all that the proxy started
	opening  sync.Mutex     // held while the listener changes
	listener net.Listener   // nil while connections are refused

	mu     sync.Mutex
	closed bool
	links  map[*link]bool
	faults faults
	counts Counts
}

// New starts a proxy before a target, host:port. It is closed at the end of the
// test.
func New(t Test, protocol Protocol, target string) *Proxy {
	t.Helper()
	p, err := Listen(protocol, target, func(err error) { t.Errorf("%v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Listen starts a proxy before a target, host:port, which its caller closes.
// report is told what goes wrong with the proxy itself, from any goroutine.
func Listen(protocol Protocol, target string, report func(error)) (*Proxy, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		report: report, protocol: protocol, target: target, addr: l.Addr().String(), listener: l,
		links: map[*link]bool{}, faults: faults{thawed: make(chan struct{})},
	}
	close(p.faults.thawed)
	p.wg.Go(func() { p.accept(l) })
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.addr }

// Counts returns what the proxy has seen and done so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	counts.Open = len(p.links)
	return counts
}

// Close cuts all connections and returns when nothing of the proxy runs on. It
// may be called more than once.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.shut()
	p.cutAll()
	p.wg.Wait()
}

// accept serves a listener until it is closed.
func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.report(fmt.Errorf("accept connection: %w", err))
			return
		}
		k := newLink(p, conn.(*net.TCPConn))
		if !p.enter(k) {
			k.cut()
			continue
		}
		p.wg.Go(func() {
			defer p.leave(k)
			k.run()
		})
	}
}

// enter takes a connection in, unless the proxy is closed.
func (p *Proxy) enter(k *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[k] = true
	p.counts.Accepted++
	return true
}

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *Proxy) leave(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, k)
}

// shut closes the listener.
func (p *Proxy) shut() {
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// reopen listens again on the same port.
func (p *Proxy) reopen() {
	p.opening.Lock()
	defer p.opening.Unlock()
	if p.listener != nil || p.isClosed() {
		return
	}
	l, err := listenAt(p.addr)
	if err != nil {
		p.report(fmt.Errorf("accept connections again: %w", err))
		return
	}
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
}

// cutAll cuts the connections and returns how many there were.
func (p *Proxy) cutAll() int {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for k := range p.links {
		links = append(links, k)
	}
	p.mu.Unlock()
	for _, k := range links {
		k.cut()
	}
	return len(links)
}
