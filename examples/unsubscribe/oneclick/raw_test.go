package oneclick_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
)

// serve starts a TLS server with a handler, and returns a client for it and
// its URL.
func serve(t *testing.T, h http.HandlerFunc) (*oneclick.Client, string) {
	t.Helper()
	o, url := server(t, h)
	return newClient(t, o), url
}

// server is serve for a client with other options.
func server(t *testing.T, h http.HandlerFunc) (oneclick.Options, string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	addr := s.Listener.Addr().(*net.TCPAddr).AddrPort()
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return oneclick.Options{Resolver: oneclick.Offline{}, RootCAs: roots, Allow: []netip.AddrPort{addr}}, s.URL
}

func TestTheRequestTellsNothingButTheWish(t *testing.T) {
	got := make(chan *http.Request, 1)
	c, url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		got <- r
	})
	if err := c.Unsubscribe(t.Context(), url+"/u?x=1#secret"); err != nil {
		t.Fatal(err)
	}
	r := <-got
	body, _ := io.ReadAll(r.Body)
	if r.Method != "POST" || r.RequestURI != "/u?x=1" || string(body) != "List-Unsubscribe=One-Click" {
		t.Errorf("%s %s %q", r.Method, r.RequestURI, body)
	}
	want := map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "26",
		"User-Agent": "posthorn-unsubscribe", "Connection": "close",
	}
	for name := range r.Header {
		if r.Header.Get(name) != want[name] {
			t.Errorf("header %s: %q", name, r.Header.Get(name))
		}
	}
}

func TestStatusesHaveTheirVerdict(t *testing.T) {
	for code, w := range map[int]struct {
		reason    error
		permanent bool
	}{
		301: {oneclick.ErrRedirect, true}, 303: {oneclick.ErrRedirect, true}, 304: {oneclick.ErrRedirect, true},
		307: {oneclick.ErrRedirect, true}, 308: {oneclick.ErrRedirect, true},
		400: {oneclick.ErrStatus, true}, 401: {oneclick.ErrStatus, true}, 404: {oneclick.ErrStatus, true},
		408: {oneclick.ErrUnavailable, false}, 425: {oneclick.ErrUnavailable, false},
		429: {oneclick.ErrUnavailable, false}, 500: {oneclick.ErrUnavailable, false},
		502: {oneclick.ErrUnavailable, false}, 503: {oneclick.ErrUnavailable, false}, 599: {oneclick.ErrUnavailable, false},
	} {
		c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		})
		if e := check(t, c.Unsubscribe(t.Context(), url), w.reason, w.permanent); e.Status != code {
			t.Errorf("%d: status is %d", code, e.Status)
		}
	}
	for _, code := range []int{200, 201, 202, 204, 299} {
		c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		if err := c.Unsubscribe(t.Context(), url); err != nil {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestRetryAfterIsReadAndBounded(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "120": 2 * time.Minute, "7200": time.Hour,
		"99999999999999999999999": time.Hour, "-5": 0, "1.5": 0, "soon": 0, "1\u202e": 0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Hour,
	} {
		c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		e := check(t, c.Unsubscribe(t.Context(), url), oneclick.ErrUnavailable, false)
		if e.After != want {
			t.Errorf("Retry-After %q: wait is %s, want %s", value, e.After, want)
		}
	}
}

func TestAResponseOfJustTheLimitIsRead(t *testing.T) {
	for size, fits := range map[int]bool{oneclick.MaxResponse: true, oneclick.MaxResponse + 1: false} {
		c, url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", size))
		})
		err := c.Unsubscribe(t.Context(), url)
		if fits && err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !fits {
			check(t, err, oneclick.ErrResponse, true)
		}
	}
}

// answer returns a handler that sends text and then waits for the client to
// leave.
func answer(t *testing.T, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = buffered.WriteString(text)
		_ = buffered.Flush()
		_, _ = io.Copy(io.Discard, conn.(*tls.Conn))
	}
}

func TestAnswersThatAreNoGoodHTTPDoNoHarm(t *testing.T) {
	interim := strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 20000)
	upgrade := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
	body := "Content-Length: 300\r\n\r\n" + strings.Repeat("\xff", 300)
	for name, c := range map[string]struct {
		text      string
		reason    error
		permanent bool
	}{
		"no http":        {"\x1b[31m\x00garbage\r\n\r\n", oneclick.ErrNetwork, false},
		"endless header": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10), oneclick.ErrNetwork, false},
		"endless status": {"HTTP/1.1 200 " + strings.Repeat("x", 1<<20), oneclick.ErrNetwork, false},
		"many interims":  {interim, oneclick.ErrNetwork, false},
		"hostile phrase": {"HTTP/1.1 400 \x1b[31m\u202e\r\nContent-Length: 0\r\n\r\n", oneclick.ErrStatus, true},
		"upgrade":        {upgrade, oneclick.ErrStatus, true},
		"long body":      {"HTTP/1.1 400 x\r\n" + body, oneclick.ErrStatus, true},
	} {
		t.Run(name, func(t *testing.T) {
			client, url := serve(t, answer(t, c.text))
			check(t, client.Unsubscribe(t.Context(), url), c.reason, c.permanent)
		})
	}
}

func TestAnAnswerThatStopsHalfwayTimesOut(t *testing.T) {
	for _, text := range []string{"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"} {
		t.Run(text, func(t *testing.T) {
			o, url := server(t, answer(t, text))
			o.Timeout = 100 * time.Millisecond
			check(t, newClient(t, o).Unsubscribe(t.Context(), url), oneclick.ErrTimeout, false)
		})
	}
}

func TestAServerThatSpeaksNoTLSIsANetworkError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = bufio.NewReader(conn).ReadByte()
		_, _ = io.WriteString(conn, "HTTP/1.1 400 \x1b[31m\r\n\r\n")
		_ = conn.Close()
	}()
	defer func() {
		_ = l.Close()
		<-ended
	}()
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	c := newClient(t, oneclick.Options{Resolver: oneclick.Offline{}, Allow: []netip.AddrPort{addr}})
	check(t, c.Unsubscribe(t.Context(), "https://"+addr.String()+"/"), oneclick.ErrNetwork, false)
}
