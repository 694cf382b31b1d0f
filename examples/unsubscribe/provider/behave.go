package provider

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	flakyTimes = 2        // refusals of /flaky and /flaky-after, for each URL
	hugeSize   = 10 << 20 // bytes of /huge
	maxSlow    = time.Minute
)

// hostileText tries to colour, retitle and rewrite a terminal, to forge a log
// line, to turn text around, and to run in a page.
const hostileText = "\x1b[31mred\x1b]0;owned\a\x9b2J\r\nlevel=ERROR msg=forged\u202egpj.exe\u2066" +
	"<script>alert(1)</script>\x00\xff=cmd|' /C calc'!A0"

// routes lists what the provider can do. Every path but the counts wants a
// valid one-click POST.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", s.serveCounts)
	for pattern, answer := range map[string]http.HandlerFunc{
		"/ok/{id}":          s.ok,
		"/slow/{ms}/{id}":   s.slow,       // 200 after ms milliseconds
		"/flaky/{id}":       s.flaky,      // 503 twice, then 200
		"/flaky-after/{id}": s.flakyAfter, // the same, with Retry-After: 1
		"/redirect/{id}":    redirect,     // 302 to another place
		"/gone/{id}":        gone,         // 410
		"/hang/{id}":        hang,         // no answer
		"/reset/{id}":       reset,        // TCP RST
		"/huge/{id}":        huge,         // 10 MB
		"/hostile/{id}":     hostile,      // 400 with a hostile text
	} {
		mux.HandleFunc(pattern, s.valid(answer))
	}
	return mux
}

// valid counts the request when it is a one-click POST as RFC 8058 wants it,
// and refuses it when it is not.
func (s *Server) valid(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if fault := faultOf(r); fault != "" {
			http.Error(w, fault, http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.count[r.URL.RequestURI()]++
		s.mu.Unlock()
		next(w, r)
	}
}

// faultOf says what is wrong with a one-click request, or nothing.
func faultOf(r *http.Request) string {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	media, _, mediaErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return "the method is not POST"
	case mediaErr != nil || media != "application/x-www-form-urlencoded":
		return "the content type is wrong"
	case err != nil || string(body) != "List-Unsubscribe=One-Click":
		return "the body is wrong"
	}
	for _, name := range []string{"Cookie", "Authorization", "Proxy-Authorization", "Referer", "Origin"} {
		if r.Header.Get(name) != "" {
			return "the header has " + name
		}
	}
	return ""
}

func (s *Server) serveCounts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(s.Counts()); err != nil {
		s.log.Debug("counts not sent", "error", err)
	}
}

func (s *Server) ok(w http.ResponseWriter, _ *http.Request) {
	s.write(w, []byte("You are unsubscribed.\n"))
}

func (s *Server) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.ParseUint(r.PathValue("ms"), 10, 31)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	timer := time.NewTimer(min(time.Duration(ms)*time.Millisecond, maxSlow))
	defer timer.Stop()
	select {
	case <-timer.C:
		s.ok(w, r)
	case <-r.Context().Done():
		reset(w, r) // a plain return would answer 200
	}
}

func (s *Server) flaky(w http.ResponseWriter, r *http.Request) {
	if s.often(r) > flakyTimes {
		s.ok(w, r)
		return
	}
	http.Error(w, "come back later", http.StatusServiceUnavailable)
}

func (s *Server) flakyAfter(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	s.flaky(w, r)
}

// often counts the requests for a URL, this one included.
func (s *Server) often(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.URL.RequestURI()
	s.seen[key]++
	return s.seen[key]
}

func (s *Server) write(w http.ResponseWriter, text []byte) {
	if _, err := w.Write(text); err != nil {
		s.log.Debug("answer not sent", "error", err)
	}
}

// redirect points at what an attacker would like to have asked for him.
func redirect(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
	w.WriteHeader(http.StatusFound)
}

func gone(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this list has been closed", http.StatusGone)
}

// hang ends when the client leaves, or the server stops. It never answers: a
// plain return would say 200.
func hang(w http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	reset(w, r)
}

// reset drops the connection without a farewell: with a linger of zero the
// kernel sends RST instead of FIN.
func reset(_ http.ResponseWriter, r *http.Request) {
	conn, ok := r.Context().Value(connKey{}).(*tls.Conn)
	if !ok {
		return
	}
	tcp, ok := conn.NetConn().(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetLinger(0) // if it fails, the client sees an ordinary end, which is also a fault
	_ = tcp.Close()
}

func huge(w http.ResponseWriter, _ *http.Request) {
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	for range hugeSize / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return // the client has seen enough
		}
	}
}

func hostile(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(hostileText)) // a client that has left misses nothing
}
