// Package api serves the workbench of package failure as versioned JSON over HTTP. The file
// openapi.yaml describes it, and is served, too.
package api

import (
	"cmp"
	"context"
	_ "embed" // for the description
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/store"
)

// Bounds of the server.
const (
	maxHeader    = 16 << 10
	maxUnderWay  = 16 // requests at a time
	headWithin   = 5 * time.Second
	readWithin   = 30 * time.Second // a request with its body
	answerWithin = 30 * time.Second // but for exports, which may take so long for each part, and imports
	idleWithin   = time.Minute
)

//go:embed openapi.yaml
var description []byte

// Options are the settings of a Server.
type Options struct {
	// Listen is host:port. Beyond loopback it has to be an IP address, or empty for all.
	Listen string
	// Token is what each request has to show as a bearer, but for the description. It may
	// not be empty.
	Token string
	Store *store.Store
	// Mux validates edits, and knows what the types of messages mark as secret; nil knows
	// none.
	Mux *posthorn.Mux
	// Dispatcher lets letters be tried: Mux's handlers run then, in this process. nil
	// refuses tries.
	Dispatcher *posthorn.Dispatcher
	// Queues are known beside those that are paused, consumed or filled: those of a
	// configuration.
	Queues []string
	Log    *slog.Logger // nil means silence

	within time.Duration // instead of answerWithin, for tests
}

// A Server answers requests.
type Server struct {
	listener net.Listener
	http     *http.Server
	room     chan struct{} // each request that is under way has a place in it
}

// Listen makes a server that listens, and answers once it runs. Errors: listen.ErrExposed is
// among them for an address beyond this host with no token, as are those of short tokens.
func Listen(o Options) (*Server, error) {
	if err := listen.Check(o.Listen, o.Token != ""); err != nil {
		return nil, err
	}
	if err := listen.CheckToken(o.Token); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	o.Log = tap.Logger(o.Log)
	if o.Mux == nil {
		o.Mux = posthorn.NewMux()
	}
	at, ok := l.Addr().(*net.TCPAddr)
	s := &Server{listener: l, room: make(chan struct{}, maxUnderWay)}
	d := &doors{token: listen.NewToken(o.Token), local: ok && at.IP.IsLoopback(), room: s.room}
	s.http = &http.Server{
		Handler: d.handler(o), ReadHeaderTimeout: headWithin, ReadTimeout: readWithin,
		WriteTimeout: readWithin + answerWithin, IdleTimeout: idleWithin, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Run answers until ctx ends, and a few seconds longer what is under way then. When it
// returns, no request uses the store any more. It is called once.
func (s *Server) Run(ctx context.Context) error {
	err := listen.Serve(ctx, s.http, s.listener)
	for range maxUnderWay { // their connections are closed, and with them their contexts have ended
		s.room <- struct{}{}
	}
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// A call is one request.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context //nolint:containedctx // a call lives no longer than its request
	store *store.Store
	mux   *posthorn.Mux
	log   *slog.Logger

	dispatcher *posthorn.Dispatcher
	queues     []string
	within     time.Duration // an answer has to be there
}

// A route is what the server answers.
type route struct {
	method, path string
	params       string // of the query, with spaces between; others are refused
	answer       func(*call) error
}

// The paths of what may take long.
const (
	pathExport = "/v1/export"
	pathImport = "/v1/import"
)

// chosen are the parameters that choose letters.
const chosen = "queue kind reason class group after before query discarded "

// routes are all that is served beside the description.
func routes() []route {
	return []route{
		{"GET", "/v1/letters", chosen + "limit past", (*call).listLetters},
		{"POST", "/v1/letters/retry", "", (*call).retryLetters},
		{"POST", "/v1/letters/remove", "", (*call).removeLetters},
		{"POST", "/v1/letters/restore", "", (*call).restoreLetters},
		{"POST", "/v1/letters/purge", "", (*call).purgeLetters},
		{"GET", "/v1/letters/{id}", "reveal", (*call).showLetter},
		{"PATCH", "/v1/letters/{id}", "retry unchecked", (*call).patchLetter},
		{"POST", "/v1/letters/{id}/try", "with_slow_part", (*call).tryLetter},
		{"GET", "/v1/letters/{id}/body", "", (*call).showBody},
		{"PUT", "/v1/letters/{id}/body", "retry unchecked", (*call).putBody},
		{"GET", pathExport, chosen + "limit", (*call).export},
		{"POST", pathImport, "skip_existing", (*call).imports},
		{"GET", "/v1/groups", "all state kind class", (*call).listGroups},
		{"GET", "/v1/groups/{fingerprint}", "", (*call).showGroup},
		{"PATCH", "/v1/groups/{fingerprint}", "", (*call).changeGroup},
		{"GET", "/v1/operations", "active limit past", (*call).listOperations},
		{"POST", "/v1/operations", "", (*call).startOperation},
		{"GET", "/v1/operations/{id}", "", (*call).showOperation},
		{"POST", "/v1/operations/{id}/pause", "", (*call).pauseOperation},
		{"POST", "/v1/operations/{id}/resume", "", (*call).resumeOperation},
		{"POST", "/v1/operations/{id}/cancel", "", (*call).cancelOperation},
		{"GET", "/v1/audit", "verb actor subject message after before limit past", (*call).listActs},
		{"GET", "/v1/messages/{id}/why", "", (*call).whyMessage},
		{"GET", "/v1/queues/{queue}/why", "", (*call).whyQueue},
	}
}

// handler answers all routes behind the doors.
func (d *doors) handler(o Options) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			c := &call{
				w: w, r: r, store: o.Store, mux: o.Mux, log: o.Log, dispatcher: o.Dispatcher, queues: o.Queues,
				within: cmp.Or(o.within, answerWithin),
			}
			c.serve(rt)
		})
	}
	d.next = unrouted(mux)
	open := http.NewServeMux()
	open.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(description) // whoever asked has gone
	})
	open.Handle("/", http.HandlerFunc(d.identified))
	return d.outer(open)
}

// serve answers one request by its route.
func (c *call) serve(rt route) {
	ctx, cancel := context.WithTimeout(c.r.Context(), c.within)
	if rt.path == pathExport || rt.path == pathImport {
		cancel()
		ctx, cancel = context.WithCancel(c.r.Context())
	}
	defer cancel()
	actor, err := actorOf(c.r)
	if err == nil {
		err = known(c.r, rt.params)
	}
	if err == nil {
		c.ctx = store.Acting(ctx, store.Act{Actor: actor})
		err = rt.answer(c)
	}
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		c.log.Warn("request to the API failed", "error", err)
	}
	p.write(c.w)
}
