package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/internal/printable"
)

// actorHeader names who asks, for the audit: the token is one for all.
const actorHeader = "Posthorn-Actor"

// maxActor bounds the name of who asks in bytes.
const maxActor = 100

// doors let in who may ask.
type doors struct {
	token listen.Token
	local bool // only this host can ask
	next  http.Handler
	room  chan struct{}
}

// outer refuses what web pages send, which no page has to: their origin is another, or
// their name for this host is.
func (d *doors) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		switch {
		case d.local && !listen.ByAddress(r.Host):
			(&problem{Status: http.StatusMisdirectedRequest, Code: "E-HOST", Title: "this host has another name",
				Detail: "ask for it by its address, or as localhost"}).write(w)
		case foreign(r):
			(&problem{Status: http.StatusForbidden, Code: "E-ORIGIN", Title: "a web page of another origin asks",
				Detail: "no other origin may"}).write(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// foreign reports whether a browser sent the request for a page of another origin.
func foreign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	origins := r.Header.Values("Origin")
	return slices.ContainsFunc(origins, func(origin string) bool {
		u, err := url.Parse(origin)
		return err != nil || u.Host == "" || u.Host != r.Host
	})
}

// identified lets in who shows the token, while there is room.
func (d *doors) identified(w http.ResponseWriter, r *http.Request) {
	if !d.token.Shown(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="posthorn api"`)
		(&problem{Status: http.StatusUnauthorized, Code: "E-TOKEN", Title: "a bearer token is needed"}).write(w)
		return
	}
	select {
	case d.room <- struct{}{}:
		defer func() { <-d.room }()
		d.next.ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		(&problem{Status: http.StatusServiceUnavailable, Code: "E-BUSY", Title: "too many requests are under way"}).write(w)
	}
}

// unrouted words what the mux says to what is no route.
func unrouted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &muted{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status != http.StatusMethodNotAllowed {
			(&problem{Status: http.StatusNotFound, Code: "E-ROUTE", Title: "there is no such resource"}).write(w)
			return
		}
		w.Header().Set("Allow", probe.header.Get("Allow"))
		(&problem{Status: probe.status, Code: "E-METHOD", Title: "the resource has no such method"}).write(w)
	})
}

// muted is a response of which only the status and the header are wanted.
type muted struct {
	header http.Header
	status int
}

// Header is the header.
func (m *muted) Header() http.Header { return m.header }

// WriteHeader keeps the status.
func (m *muted) WriteHeader(status int) { m.status = status }

// Write forgets the text.
func (m *muted) Write(p []byte) (int, error) { return len(p), nil }

// actorOf names who asks.
func actorOf(r *http.Request) (string, error) {
	name := r.Header.Get(actorHeader)
	switch {
	case name == "":
		return "api", nil
	case len(name) > maxActor || !utf8.ValidString(name):
		return "", usage(fmt.Sprintf("%s has more than %d bytes, or is no UTF-8", actorHeader, maxActor))
	}
	return "api:" + printable.Text(name), nil
}

// known refuses parameters that mean nothing: a filter that is spelt wrong would choose
// everything.
func known(r *http.Request, params string) error {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return usage("the query of the address is malformed")
	}
	names := strings.Fields(params)
	for name, values := range given {
		if !slices.Contains(names, name) {
			return usage(fmt.Sprintf("there is no parameter %q here", name))
		}
		if len(values) > 1 && name != "state" {
			return usage(fmt.Sprintf("parameter %q is given twice", name))
		}
	}
	return nil
}
