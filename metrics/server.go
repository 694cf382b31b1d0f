package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthorn/posthorn/internal/listen"
)

// Bounds of the listener.
const (
	maxScrapes    = 4
	maxHeader     = 16 << 10
	scrapeWithin  = 15 * time.Second
	requestWithin = 5 * time.Second
)

// A server answers scrapes.
type server struct {
	listener net.Listener
	http     *http.Server
}

func newServer(address, token string, g prometheus.Gatherer, log *slog.Logger) (*server, error) {
	if err := listen.Check(address, token != ""); err != nil {
		return nil, err
	}
	if err := listen.CheckToken(token); token != "" && err != nil {
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
	mux.Handle("GET /metrics", guarded(token, shown(show)))
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
	want := listen.NewToken(token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if token == "" && !listen.ByAddress(r.Host) {
			http.Error(w, "ask for this host by its address", http.StatusMisdirectedRequest)
			return
		}
		if token != "" && !want.Shown(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="posthorn metrics"`)
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// run answers until ctx ends.
func (s *server) run(ctx context.Context) error {
	if err := listen.Serve(ctx, s.http, s.listener); err != nil {
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
