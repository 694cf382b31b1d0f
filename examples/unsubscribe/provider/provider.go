// Package provider is a small mailing-list provider on the loopback interface
// for demos and tests. It takes the one-click POST of RFC 8058, and knows the
// ways in which real providers misbehave; see Server.routes for them.
package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// stopTime is how long requests may go on after Run's context has ended. The
// ones that hang end at once; it is for what is being written.
const stopTime = time.Second

// Options are the optional settings of a Server.
type Options struct {
	Hosts []string     // names that the certificate is for; nil means DefaultHosts
	Log   *slog.Logger // for faults of connections, at debug level; nil means none
}

// DefaultHosts are the host names of the demo's mails.
func DefaultHosts() []string { return []string{"lists.example", "xn--bcher-kva.lists.example"} }

// A Server is a provider. All methods may be called concurrently; Run once.
type Server struct {
	listener net.Listener
	hosts    []string
	log      *slog.Logger
	cert     *certificate

	mu    sync.Mutex // guards what is below
	seen  map[string]int
	count map[string]int
}

// New makes a certificate and listens on a free port of 127.0.0.1. Call Run to
// serve, or Close to give it up.
func New(o Options) (*Server, error) {
	s := &Server{hosts: o.Hosts, log: o.Log, seen: map[string]int{}, count: map[string]int{}}
	if s.hosts == nil {
		s.hosts = DefaultHosts()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.cert, err = newCertificate(s.hosts); err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	if s.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return s, nil
}

// Close stops listening. It is for a Server that is not run; Run closes by
// itself.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, and returns when every request has ended. Its
// error is nil when ctx was the reason.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // so that hanging ones end
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		<-served.Done()
		shutDown(server)
	})
	err := server.Serve(tls.NewListener(s.listener, s.cert.config()))
	stop()
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// shutDown waits for the requests in hand, and cuts off those that are late.
func shutDown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // nothing is left to do for them
	}
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

// URL is the address of the counts, for a look with curl.
func (s *Server) URL() string { return "https://" + s.Addr().String() }

// Routes maps each host name to the server's address.
func (s *Server) Routes() map[string]netip.AddrPort {
	routes := make(map[string]netip.AddrPort, len(s.hosts))
	for _, host := range s.hosts {
		routes[host] = s.Addr()
	}
	return routes
}

// RootCAs is the pool with the authority that signed the server's certificate.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.cert.authority)
	return pool
}

// AuthorityPEM is the authority's certificate, for other processes.
func (s *Server) AuthorityPEM() []byte { return s.cert.pem() }

// Counts says how many valid one-click POSTs came, by path and query. It
// counts what came, whatever the answer was.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.count)
}

// connKey is the context key of a request's connection.
type connKey struct{}

// withConn lets a handler get at its connection, to break it.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}
