package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/internal/tap"
)

// A Sender carries notices to a receiver: all of them, or none. It must end when ctx ends. Its
// errors are shown: they hold no secret.
type Sender interface {
	Send(ctx context.Context, notices []Notice) error
}

// A Secret is read when it is needed, so that it may change while the program runs.
type Secret func() (string, error)

// Plain is a secret that is known already.
func Plain(text string) Secret { return func() (string, error) { return text, nil } }

// reveal reads a secret; nil is an empty one.
func (s Secret) reveal() (string, error) {
	if s == nil {
		return "", nil
	}
	text, err := s()
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return text, nil
}

// Proxy says by which proxy an address is reached; nil: by none.
type Proxy func(*http.Request) (*url.URL, error)

// ErrAddress: an address is not one to which notices can be sent.
var ErrAddress = errors.New("not an address like https://host/path")

// CheckURL refuses what is no address of a receiver. The error does not repeat it.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Opaque != "", u.Fragment != "", u.Scheme != "http" && u.Scheme != "https":
		return ErrAddress // nothing of it: it may be a token that stands in the wrong place
	}
	return nil
}

// maxAnswer is how much of an answer is read, so that the connection may be used again.
const maxAnswer = 64 << 10

// A web sends requests to one address, whose path may be a secret.
type web struct {
	url    Secret
	client *http.Client
}

// newWeb makes a web. It follows no redirect: what was signed for one receiver is not for
// another one.
func newWeb(address Secret, proxy Proxy) web {
	return web{address, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: proxy, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second,
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer,
		},
	}}
}

// request is what is sent beside the address.
type request struct {
	method, path string
	body         []byte
	header       map[string]string
}

// do sends a request. Anything but an answer of 2xx is an error.
func (w web) do(ctx context.Context, r request) error {
	address, err := w.url.reveal()
	if err != nil {
		return err
	}
	if err := CheckURL(address); err != nil {
		return err
	}
	u, err := url.Parse(address)
	if err != nil {
		return ErrAddress
	}
	if r.path != "" {
		u = u.JoinPath(r.path)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return ErrAddress
	}
	req.Header.Set("User-Agent", "posthorn")
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	tap.Show(tap.Alert, r.body)
	resp, err := w.client.Do(req)
	if err != nil {
		return errors.New(hide(bare(err).Error(), secretsOf(u)...))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // its status has said it all
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s answers %d %s", printable.Text(u.Hostname()), resp.StatusCode,
			http.StatusText(resp.StatusCode))
	}
	return nil
}

// bare takes the address out of an error of net/http.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// secretsOf lists the parts of an address that may be secret: all but the host.
func secretsOf(u *url.URL) []string {
	out := []string{u.String(), u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery}
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		out = append(out, u.User.String(), u.User.Username(), password)
	}
	return out
}

// minSecret is the shortest text that is looked for: a shorter one is in every other word.
const minSecret = 4

// hide makes a text safe to show and takes secrets out of it.
func hide(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) >= minSecret {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return printable.Text(text)
}
