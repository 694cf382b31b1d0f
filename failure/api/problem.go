package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/failure"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/store"
)

// A problem is an error as who asked sees it (RFC 9457), with a code that does not change,
// the same as the command line's.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Try    string `json:"try,omitempty"`
}

// Error gives the problem in one line.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte("{}") // it has texts only
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(printable.JSON(body), '\n')) // whoever asked has gone
}

// usage is for a request that was not understood.
func usage(detail string) error {
	return &problem{
		Status: http.StatusBadRequest, Code: "E-USAGE", Title: "cannot understand the request", Detail: detail,
		Try: "see /v1/openapi.yaml",
	}
}

// nothing says that what was named is not there.
func nothing(title, detail string) error {
	return &problem{Status: http.StatusNotFound, Code: "E-NOTHING-MATCHED", Title: title, Detail: detail}
}

// meaning is what a sentinel error means to who asks.
type meaning struct {
	is     error
	status int
	code   string
	title  string
}

func meanings() []meaning {
	return []meaning{
		{store.ErrNoGroup, http.StatusNotFound, "E-NOTHING-MATCHED", "no such group"},
		{failure.ErrAmbiguous, http.StatusBadRequest, "E-USAGE", "the fingerprint is cut too short"},
		{store.ErrNoOperation, http.StatusNotFound, "E-NOTHING-MATCHED", "no such operation"},
		{store.ErrOperationState, http.StatusConflict, "E-OPERATION-STATE", "the operation is in another state"},
		{store.ErrChanged, http.StatusPreconditionFailed, "E-LETTER-CHANGED", "somebody else was faster"},
		{failure.ErrUncheckable, http.StatusUnprocessableEntity, "E-UNCHECKED", "nothing here can validate the new version"},
		{driver.ErrDuplicate, http.StatusConflict, "E-MESSAGE-DUPLICATE", "the id is taken"},
		{driver.ErrTooLarge, http.StatusRequestEntityTooLarge, "E-MESSAGE-TOO-LARGE", "it is too large"},
		{driver.ErrInvalid, http.StatusUnprocessableEntity, "E-MESSAGE-INVALID", "it is not valid"},
		{driver.ErrClosed, http.StatusServiceUnavailable, "E-STORE-UNREACHABLE", "the store is closed"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "E-STORE-UNREACHABLE", "the store took too long"},
		{driver.ErrUnavailable, http.StatusServiceUnavailable, "E-STORE-UNREACHABLE", "cannot reach the store"},
	}
}

// problemOf makes a problem of any error. What the store's own errors say is for the log
// alone: it may name what is nobody's business.
func problemOf(err error) *problem {
	var (
		p         *problem
		query     *failure.QueryError
		invalid   *posthorn.InvalidError
		undecoded *posthorn.DecodeError
		large     *http.MaxBytesError
		line      *failure.LineError
	)
	made := func(status int, code, title string) *problem {
		return &problem{Status: status, Code: code, Title: title, Detail: err.Error()}
	}
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &query):
		return &problem{Status: http.StatusBadRequest, Code: "E-USAGE", Title: "cannot understand the query",
			Detail: query.Error(), Try: query.Try}
	case errors.As(err, &large):
		return made(http.StatusRequestEntityTooLarge, "E-REQUEST-TOO-LARGE", "the request is too large")
	case errors.As(err, &line) && !errors.Is(err, driver.ErrDuplicate):
		return made(http.StatusUnprocessableEntity, "E-IMPORT", "the file cannot be imported")
	case errors.As(err, &invalid):
		return made(http.StatusUnprocessableEntity, "E-MESSAGE-INVALID", "the message is not valid")
	case errors.As(err, &undecoded):
		return made(http.StatusUnprocessableEntity, "E-MESSAGE-UNDECODABLE", "the body does not fit the kind")
	}
	for _, m := range meanings() {
		if errors.Is(err, m.is) {
			p := made(m.status, m.code, m.title)
			if m.status >= http.StatusInternalServerError {
				p.Detail = ""
			}
			return p
		}
	}
	return &problem{Status: http.StatusInternalServerError, Code: "E-FAILED", Title: "the request failed"}
}
