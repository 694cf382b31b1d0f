package metrics

import (
	"io"
	"net/http"

	"github.com/posthorn/posthorn/internal/tap"
)

// shown lets a test run keep the pages that h answers with; in any other build it is h.
func shown(h http.Handler) http.Handler {
	if !tap.On {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding") // what is kept is plain text
		h.ServeHTTP(kept{w, tap.Writer(tap.Metrics, w)}, r)
	})
}

// A kept page is a response whose body is kept.
type kept struct {
	http.ResponseWriter
	body io.Writer
}

// Write keeps p, and writes it.
func (p kept) Write(b []byte) (int, error) { return p.body.Write(b) }
