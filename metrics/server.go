package metrics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ErrExposed: the listener would answer other hosts without asking who they are.
var ErrExposed = errors.New("a listener beyond loopback needs a token")

// Bounds of the listener.
const (
	maxScrapes    = 4
	maxHeader     = 16 << 10
	scrapeWithin  = 15 * time.Second
	requestWithin = 5 * time.Second
	closeWithin   = 3 * time.Second
)

// MinToken is the fewest bytes of a token.
const MinToken = 16

// A server answers scrapes.
type server struct {
	listener net.Listener
	http     *http.Server
}

// CheckToken reports why a token is none.
func CheckToken(token string) error {
	if len(token) < MinToken {
		return fmt.Errorf("the token has %d bytes, it needs at least %d", len(token), MinToken)
	}
	return nil
}

// CheckListen reports why metrics must not be shown at an address: host:port, where the
// host is an IP address or localhost. Who must show a token may come from everywhere.
func CheckListen(address string, withToken bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port", address)
	}
	if host == "localhost" {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case withToken && (host == "" || err == nil):
		return nil
	case host == "":
		return fmt.Errorf("listen on every address: %w", ErrExposed)
	case err != nil:
		return fmt.Errorf("host %q is neither an IP address nor localhost", host)
	case !ip.Unmap().IsLoopback():
		return fmt.Errorf("listen on %s: %w", host, ErrExposed)
	}
	return nil
}

func listen(address, token string, g prometheus.Gatherer, log *slog.Logger) (*server, error) {
	if err := CheckListen(address, token != ""); err != nil {
		return nil, err
	}
	if err := CheckToken(token); token != "" && err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes: %w", err)
	}
	show := promhttp.HandlerFor(g, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes, Timeout: scrapeWithin,
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeLog{log},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", guarded(token, show))
	return &server{listener: l, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: requestWithin, ReadTimeout: requestWithin, WriteTimeout: 2 * scrapeWithin,
		IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// scrapeLog is where promhttp says what went wrong.
type scrapeLog struct{ log *slog.Logger }

// Println logs one line.
func (l scrapeLog) Println(v ...any) { l.log.Warn("cannot show metrics", "error", fmt.Sprint(v...)) }

// guarded lets in whoever has the token. Without one, it lets in whoever calls this host
// by an address, or localhost: a name could be a web page's that points here.
func guarded(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if token == "" && !byAddress(r.Host) {
			http.Error(w, "ask for this host by its address", http.StatusMisdirectedRequest)
			return
		}
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given))
		if token != "" && (!strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="posthorn metrics"`)
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// byAddress reports whether a Host header is an IP address or localhost.
func byAddress(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// run answers until ctx ends.
func (s *server) run(ctx context.Context) error {
	var closing sync.WaitGroup
	defer closing.Wait()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	closing.Go(func() {
		<-serving.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		if s.http.Shutdown(last) != nil {
			_ = s.http.Close()
		}
	})
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer scrapes: %w", err)
	}
	return nil
}

// pause is a short one.
func pause(ctx context.Context) {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
