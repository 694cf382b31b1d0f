package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure/api"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/mysql"
	"github.com/posthorn/posthorn/store/postgres"
	"github.com/posthorn/posthorn/store/sqlite"
)

var servers = testserver.Shared{Options: testserver.Options{InMemory: true}}

func TestMain(m *testing.M) { goleak.VerifyTestMain(servers.Main(m)) }

// token is a canary, too: it must appear nowhere.
const token = "c4n4ry-" + witness.Secret

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a fresh store of a kind.
func open(t *testing.T, kind string) *store.Store {
	t.Helper()
	var (
		s   *store.Store
		err error
	)
	switch kind {
	case "SQLite":
		s, err = sqlite.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), store.Options{})
	case "PostgreSQL":
		s, err = postgres.Open(t.Context(), servers.PostgreSQL(t).DSN(), store.Options{})
	default:
		d := servers.MariaDB(t)
		s, err = mysql.Open(t.Context(), "mysql://root@"+d.Server.Addr()+"/"+d.Name, store.Options{})
	}
	try(t, err)
	t.Cleanup(func() { try(t, s.Close()) })
	return s
}

// A parcel is the message of these tests.
type parcel struct {
	To   string
	Door string `json:"door" posthorn:"secret"`

	Secret witness.Hidden `json:"secret"`
}

// Kind names it.
func (parcel) Kind() string { return "parcel" }

// Validate wants to know whither.
func (p parcel) Validate() error {
	if p.To == "" {
		return errors.New("it goes nowhere")
	}
	return nil
}

// hostile is what errors may say: it moves a terminal's cursor, turns text around, and is
// HTML.
const hostile = "no \x1b[2J\u202e<script>"

// bury makes dead letters whose ids are given, with a body each.
func bury(t *testing.T, s *store.Store, body string, ids ...string) {
	t.Helper()
	envs := make([]driver.Envelope, len(ids))
	for i, id := range ids {
		envs[i] = driver.Envelope{ID: id, Body: []byte(body), Header: map[string]string{"h": "v"}}
	}
	buryEach(t, s, envs...)
}

// buryEach makes dead letters of parcels.
func buryEach(t *testing.T, s *store.Store, envs ...driver.Envelope) {
	t.Helper()
	for _, env := range envs {
		env.Kind, env.Queue, env.SentAt = "parcel", "q", time.Now()
		try(t, s.Send(t.Context(), env))
	}
	c, err := s.Consume(t.Context(), driver.Subscription{Queues: []string{"q"}, Worker: "w", Lease: time.Minute})
	try(t, err)
	defer func() { try(t, c.Close()) }()
	for n := 0; n < len(envs); {
		ds, err := c.Receive(t.Context(), len(envs))
		try(t, err)
		for _, d := range ds {
			n++
			try(t, c.Settle(t.Context(), driver.Settlement{
				Delivery: d, Verdict: driver.Bury, Reason: driver.ReasonRejected, Attempt: &driver.Attempt{
					Number: 1, Worker: "w", Started: time.Now(), Class: driver.ClassReject, Error: hostile,
				},
			}))
		}
	}
	_, err = s.MarkLetters(t.Context())
	try(t, err)
}

// A service is a server that runs.
type service struct {
	*testing.T
	base   string
	store  *store.Store
	log    bytes.Buffer // read it when the server has ended
	stop   func()
	spec   *spec
	client *http.Client
}

// serve runs a server until the test ends, or until it is stopped.
func serve(t *testing.T, s *store.Store) *service {
	t.Helper()
	mux := posthorn.NewMux()
	posthorn.Handle(mux, func(context.Context, parcel) error { return nil })
	return serveBy(t, s, mux, nil)
}

// serveBy is serve with the handlers and the dispatcher of a program.
func serveBy(t *testing.T, s *store.Store, mux *posthorn.Mux, d *posthorn.Dispatcher) *service {
	t.Helper()
	return serveWith(t, api.Options{Store: s, Mux: mux, Dispatcher: d})
}

// serveWith is serve with any options.
func serveWith(t *testing.T, o api.Options) *service {
	t.Helper()
	v := &service{T: t, store: o.Store, spec: readSpec(t), client: &http.Client{Transport: &http.Transport{}}}
	o.Listen, o.Token = "127.0.0.1:0", token
	o.Log = slog.New(slog.NewTextHandler(&v.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server, err := api.Listen(o)
	try(t, err)
	v.base = "http://" + server.Address()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	v.stop = sync.OnceFunc(func() {
		v.client.CloseIdleConnections()
		cancel()
		wg.Wait()
		if strings.Contains(v.log.String(), "c4n4ry") {
			t.Errorf("the log has the token:\n%s", v.log.String())
		}
	})
	t.Cleanup(v.stop)
	return v
}

// An ask is a request.
type ask struct {
	path   string // with its method, like GET /v1/letters
	body   string
	header []string // names and values; an empty value removes one
	want   int      // the status
}

// An answer is what came.
type answer struct {
	header http.Header
	body   []byte
}

// do asks, and holds what comes to the description.
func (v *service) do(a ask) answer {
	v.Helper()
	method, path, _ := strings.Cut(a.path, " ")
	r, err := http.NewRequestWithContext(v.Context(), method, v.base+path, strings.NewReader(a.body))
	try(v.T, err)
	r.Header.Set("Authorization", "Bearer "+token)
	if a.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(a.header); i += 2 {
		if a.header[i+1] == "" {
			r.Header.Del(a.header[i])
			continue
		}
		r.Header.Set(a.header[i], a.header[i+1])
		if a.header[i] == "Host" {
			r.Host = a.header[i+1]
		}
	}
	resp, err := v.client.Do(r)
	try(v.T, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	try(v.T, err)
	if resp.StatusCode != a.want {
		v.Errorf("%s: status %d, want %d\n%s", a.path, resp.StatusCode, a.want, body)
	}
	if bytes.Contains(body, []byte("c4n4ry")) || bytes.ContainsAny(body, "\x1b\u202e<") {
		v.Errorf("%s: the answer has what no reader wants:\n%q", a.path, body)
	}
	v.spec.check(v.T, exchange{method: method, path: path, sent: a.body, resp: resp, got: body})
	return answer{resp.Header, body}
}

// get asks and decodes.
func get[T any](v *service, a ask) (out T) {
	v.Helper()
	got := v.do(a)
	if err := json.Unmarshal(got.body, &out); err != nil {
		v.Fatalf("%s: %v\n%s", a.path, err, got.body)
	}
	return out
}

func unmarshal(v *service, text []byte, into any) {
	v.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		v.Fatalf("%v\n%s", err, text)
	}
}
