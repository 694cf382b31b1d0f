// Package oneclick unsubscribes from mailing lists by the one-click POST of
// RFC 8058.
//
// The address of the request was chosen by whoever sent the mail, so the
// client is built against server-side request forgery. It speaks https on port
// 443 only, sends one fixed body and nothing that tells who asks, follows no
// redirect, uses no proxy, and bounds the time and the size of everything. It
// looks a name up once, checks every address of the answer, and connects to
// just these addresses, so that a name which changes its answer gains nothing.
package oneclick

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The limits of a request.
const (
	MaxURL            = 2048      // bytes of the URL
	MaxResponse       = 64 << 10  // bytes of the response's body
	MaxResponseHeader = 32 << 10  // bytes of the response's header
	MaxRetryAfter     = time.Hour // a longer wish of the server is cut to this
	DefaultTimeout    = 10 * time.Second
)

// Body is the whole body of the request, RFC 8058 §3.2.
const Body = "List-Unsubscribe=One-Click"

const (
	httpsPort = 443
	maxDials  = 4 // addresses of one name that are tried
)

// Options are the optional settings of a Client.
type Options struct {
	Resolver Resolver       // nil means the system's
	RootCAs  *x509.CertPool // nil means the system's
	Timeout  time.Duration  // of the whole request; 0 means DefaultTimeout

	// Routes sends connections for a host name to a fixed address and port,
	// without a look-up. The address is checked like any other.
	Routes map[string]netip.AddrPort
	// Allow opens these addresses and ports, and no others, in spite of the
	// rules. It is for tests and demos; the default is none.
	Allow []netip.AddrPort
}

// A Client makes one-click requests. It is safe for concurrent use, keeps no
// connection open, and owns nothing that would have to be closed.
type Client struct {
	resolver Resolver
	routes   map[string]netip.AddrPort
	allow    map[netip.AddrPort]bool
	tls      *tls.Config
	timeout  time.Duration
}

// New returns a client. It fails when the timeout is negative.
func New(o Options) (*Client, error) {
	if o.Timeout < 0 {
		return nil, fmt.Errorf("timeout %s is negative", o.Timeout)
	}
	c := &Client{
		resolver: o.Resolver, routes: maps.Clone(o.Routes), timeout: o.Timeout,
		allow: make(map[netip.AddrPort]bool, len(o.Allow)),
		tls:   &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
	}
	if c.resolver == nil {
		c.resolver = System{}
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	for _, open := range o.Allow {
		c.allow[open] = true
	}
	return c, nil
}

// Unsubscribe makes the request and returns nil when the server said that it
// was done. It blocks until then, at most for the client's timeout. Its error
// is an *Error, or wraps the cause for which ctx ended.
func (c *Client) Unsubscribe(ctx context.Context, rawURL string) error {
	t, err := c.parse(rawURL)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err = c.request(limited, t)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("unsubscribe at %s: %w", t.host, context.Cause(ctx))
	}
	return err
}

func (c *Client) request(ctx context.Context, t *target) error {
	addrs, err := c.lookUp(ctx, t)
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, t, addrs)
	if err != nil {
		return networkError(ctx, t, err)
	}
	defer func() { _ = conn.Close() }() // the answer is read, or lost, by then
	return roundTrip(ctx, conn, t)
}

// roundTrip sends the request on a connection that is used for nothing else.
// The bare transport has no cookies, follows no redirect and adds no Referer.
func roundTrip(ctx context.Context, conn net.Conn, t *target) error {
	transport := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true, // nothing to inflate
		MaxResponseHeaderBytes: MaxResponseHeader,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url.String(), strings.NewReader(Body))
	if err != nil {
		return refuseURL("no request can be made of it: " + plain(err))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "posthorn-unsubscribe")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return networkError(ctx, t, err)
	}
	defer func() { _ = resp.Body.Close() }() // the connection is closed in any case
	return check(ctx, t, resp)
}

// readBody reads the body up to one byte more than is allowed. That of a 101
// is the bare connection, which has no end.
func readBody(resp *http.Response) ([]byte, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	return io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
}

// check reads the response and judges it.
func check(ctx context.Context, t *target, resp *http.Response) error {
	body, err := readBody(resp)
	if err != nil {
		return networkError(ctx, t, err)
	}
	e := &Error{Host: t.host, Status: resp.StatusCode, Detail: fmt.Sprintf("status %d", resp.StatusCode)}
	switch code := resp.StatusCode; {
	case len(body) > MaxResponse:
		e.Reason, e.Detail = ErrResponse, fmt.Sprintf("more than %d bytes", MaxResponse)
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 399:
		e.Reason = ErrRedirect
	case code >= 500 || isTemporary(code):
		e.Reason = ErrUnavailable
		e.After = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	default:
		e.Reason = ErrStatus
	}
	if !errors.Is(e.Reason, ErrResponse) && len(body) > 0 {
		e.Detail += ": " + quote(string(body))
	}
	return e
}

// isTemporary reports the 4xx statuses that ask for another try, RFC 9110
// §15.5.9, RFC 8470 §5.2, RFC 6585 §4.
func isTemporary(code int) bool {
	return code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests
}

// retryAfter reads the field of RFC 9110 §10.2.3: seconds, or a date. What it
// cannot read, and what is past, is 0.
func retryAfter(value string, now time.Time) time.Duration {
	n, err := strconv.ParseUint(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // n is the largest number when it is out of range
		return time.Duration(min(n, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), MaxRetryAfter)
	}
	return 0
}

// networkError tells apart what can go wrong below HTTP.
func networkError(ctx context.Context, t *target, err error) error {
	var known *Error
	var cert *tls.CertificateVerificationError
	var timeout net.Error
	e := &Error{Reason: ErrNetwork, Host: t.host, Detail: plain(err), Err: err}
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &cert):
		e.Reason = ErrCertificate
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = ErrTimeout
	}
	return e
}
