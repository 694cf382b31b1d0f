package proxy_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
)

// servers are shared by the tests with real servers.
var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

func TestBytesArriveUnchanged(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			conn := dial(t, p)
			sent := make([]byte, 3<<20+17)
			_, _ = rand.Read(sent)
			wg.Go(func() {
				_, err := conn.Write(sent)
				check(t, errors.Join(err, conn.CloseWrite()))
			})
			got, err := io.ReadAll(conn)
			check(t, err)
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, want the %d that were sent", len(got), len(sent))
			}
		})
	}
	wg.Wait()
	if c := p.Counts(); c.Accepted != 4 || c.Cut != 0 {
		t.Errorf("counts %+v", c)
	}
}

func TestARequestToCancelAStatementCanGoNowhere(t *testing.T) {
	t.Parallel()
	request := []byte{0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2} // of process 1 with the key 2
	for protocol, want := range map[proxy.Protocol][]byte{proxy.PostgreSQL: request, proxy.Uncancelled: {}} {
		arrived := make(chan []byte, 1)
		conn := dial(t, proxy.New(t, protocol, serve(t, func(conn net.Conn) {
			got, _ := io.ReadAll(conn)
			arrived <- got
		})))
		_, err := conn.Write(request)
		check(t, errors.Join(err, conn.CloseWrite()))
		if got := <-arrived; !bytes.Equal(got, want) {
			t.Errorf("protocol %d forwards %v, want %v", protocol, got, want)
		}
	}
}

func TestACutIsSeenOnBothSides(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 2)
	p := proxy.New(t, proxy.Plain, serve(t, func(conn net.Conn) {
		_, err := io.Copy(conn, conn)
		ended <- err
	}))
	a, b := dial(t, p), dial(t, p)
	wantEcho(t, a)
	wantEcho(t, b)
	if n := p.Cut(); n != 2 {
		t.Errorf("%d connections were cut, want 2", n)
	}
	for _, conn := range []net.Conn{a, b} {
		_, err := conn.Read(make([]byte, 1))
		wantError(t, err, syscall.ECONNRESET)
		wantError(t, <-ended, syscall.ECONNRESET)
	}
	if c := p.Counts(); c.Cut != 2 || c.Accepted != 2 {
		t.Errorf("counts %+v", c)
	}
	wantEcho(t, dial(t, p))
}

func TestRefusedConnectionsAreRefusedUntilItIsOver(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	old := dial(t, p)
	wantEcho(t, old)
	for range 2 {
		p.Refuse(true)
		p.Refuse(true)
		_, err := net.Dial("tcp", p.Addr())
		wantError(t, err, syscall.ECONNREFUSED)
		wantEcho(t, old)
		p.Refuse(false)
		p.Refuse(false)
		wantEcho(t, dial(t, p))
	}
}

func TestAFrozenConnectionIsSilentUntilItThaws(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	old := dial(t, p)
	wantEcho(t, old)
	p.Freeze(true)
	p.Freeze(true)
	fresh := dial(t, p)
	for _, conn := range []net.Conn{old, fresh} {
		_, err := conn.Write([]byte("hello"))
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		n, err := conn.Read(make([]byte, 5))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, error %v; want silence", n, err)
		}
		check(t, conn.SetReadDeadline(time.Time{}))
	}
	p.Freeze(false)
	for _, conn := range []net.Conn{old, fresh} {
		wantRead(t, conn, "hello")
	}
}

func TestAFrozenConnectionCanBeCut(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	conn := dial(t, p)
	wantEcho(t, conn)
	p.Freeze(true)
	_, err := conn.Write([]byte("hello"))
	check(t, err)
	p.Cut()
	_, err = conn.Read(make([]byte, 1))
	wantError(t, err, syscall.ECONNRESET)
}

func TestADelayHoldsEachDirectionBack(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	conn := dial(t, p)
	wantEcho(t, conn)
	p.Delay(time.Hour)
	_, err := conn.Write([]byte("late"))
	check(t, err)
	check(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	if _, err := conn.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want silence", err)
	}
	p.Delay(time.Millisecond)
	wantEcho(t, dial(t, p))
	p.Close() // does not wait for an hour
}

func TestATargetThatIsAwayEndsTheConnection(t *testing.T) {
	t.Parallel()
	port, err := proxy.FreePort()
	check(t, err)
	p := proxy.New(t, proxy.Plain, (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil { // else the reset came at once
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	wantError(t, err, syscall.ECONNRESET)
}

func TestACloseOfOneSideReachesTheOther(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, serve(t, func(conn net.Conn) {
		text, _ := io.ReadAll(conn)
		_, _ = conn.Write(append(text, " and goodbye"...))
	}))
	conn := dial(t, p)
	_, err := conn.Write([]byte("hello"))
	check(t, errors.Join(err, conn.CloseWrite()))
	wantRead(t, conn, "hello and goodbye")
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want an end", err)
	}
}

func TestNothingRunsOnAfterClose(t *testing.T) {
	t.Parallel()
	p := proxy.New(t, proxy.Plain, echo(t))
	conn := dial(t, p)
	wantEcho(t, conn)
	p.Freeze(true)
	p.Close()
	p.Close()
	p.Refuse(false)
	if c := p.Counts(); c.Open != 0 {
		t.Errorf("%d connections are open", c.Open)
	}
	_, err := net.Dial("tcp", p.Addr())
	wantError(t, err, syscall.ECONNREFUSED)
}

// echo starts a server that sends back what it gets.
func echo(t *testing.T) string {
	return serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

// serve starts a server that ends with the test.
func serve(t *testing.T, handle func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// dial connects to a proxy; whatever is read from the connection must come
// within a minute.
func dial(t *testing.T, p *proxy.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Error(err)
		return &net.TCPConn{}
	}
	t.Cleanup(func() { conn.Close() })
	check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	return conn.(*net.TCPConn)
}

func wantEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Write([]byte("ping"))
	check(t, err)
	wantRead(t, conn, "ping")
}

func wantRead(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(conn, got)
	check(t, err)
	if string(got) != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
