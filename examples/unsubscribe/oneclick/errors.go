package oneclick

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Why an unsubscription failed. They come inside an *Error; compare with
// errors.Is.
var (
	ErrURL         = errors.New("url refused")            // it breaks a rule
	ErrAddress     = errors.New("address refused")        // its host is not on the public internet
	ErrName        = errors.New("name not found")         // its host does not exist
	ErrCertificate = errors.New("certificate refused")    // the server cannot prove its name
	ErrRedirect    = errors.New("redirect refused")       // RFC 8058 §3.1: the answer must not be one
	ErrResponse    = errors.New("response over its size") // more than MaxResponse
	ErrStatus      = errors.New("refused by the server")  // a final HTTP status
	ErrUnavailable = errors.New("server not ready")       // a temporary HTTP status
	ErrTimeout     = errors.New("no answer in time")
	ErrNetwork     = errors.New("network error")
)

// maxText bounds how much of a server's text an error repeats, in bytes.
const maxText = 200

// An Error says how an unsubscription failed. Its text is printable ASCII and
// short, whatever the server sent.
type Error struct {
	Reason error         // one of the sentinels
	Host   string        // of the URL, when it is known to be a proper name or address
	Detail string        // in words; printable
	Status int           // the HTTP status, or 0
	After  time.Duration // how long the server wants us to wait, at most MaxRetryAfter; 0 when it did not say
	Err    error         // the cause, or nil; its text may be hostile
}

// Error begins with the reason's own words.
func (e *Error) Error() string {
	s := e.Reason.Error() + ": "
	if e.Host != "" {
		s += e.Host + ": "
	}
	return s + e.Detail
}

// Unwrap returns the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// Permanent reports that another try would end in the same way.
func (e *Error) Permanent() bool {
	return !errors.Is(e.Reason, ErrUnavailable) && !errors.Is(e.Reason, ErrTimeout) && !errors.Is(e.Reason, ErrNetwork)
}

// quote makes a stranger's text fit for an error: ASCII, one line, short.
func quote(s string) string {
	quoted := strconv.QuoteToASCII(s[:min(len(s), maxText)])
	if len(quoted) > maxText {
		quoted = quoted[:maxText-4] + `..."`
	}
	return quoted
}

// plain is quote without the quotation marks, for the texts of errors.
func plain(err error) string {
	quoted := quote(err.Error())
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
