// Package listen holds what listeners over HTTP have in common: at which addresses they may
// be, who may ask, and how they end.
package listen

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrExposed: the listener would answer other hosts without asking who they are.
var ErrExposed = errors.New("a listener beyond loopback needs a token")

// MinToken is the fewest bytes of a token.
const MinToken = 16

// closeWithin is how long requests under way may take when a listener ends.
const closeWithin = 3 * time.Second

// CheckToken reports why a token is none.
func CheckToken(token string) error {
	if len(token) < MinToken {
		return fmt.Errorf("the token has %d bytes, it needs at least %d", len(token), MinToken)
	}
	return nil
}

// Check reports why nothing must listen at an address: host:port, where the host is an IP
// address or localhost. Where who asks must show a token, it may be any address.
func Check(address string, withToken bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is none from 1 to 65535, and not 0 for any that is free", port)
	}
	if host == "localhost" {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case withToken && (host == "" || err == nil):
		return nil
	case host == "":
		return fmt.Errorf("listen on every address: %w", ErrExposed)
	case err != nil:
		return fmt.Errorf("host %q is neither an IP address nor localhost", host)
	case !ip.Unmap().IsLoopback():
		return fmt.Errorf("listen on %s: %w", host, ErrExposed)
	}
	return nil
}

// A Token is what who asks must show. How long a comparison takes tells nothing about it.
type Token struct{ sum [sha256.Size]byte }

// NewToken makes a Token of its text.
func NewToken(text string) Token { return Token{sha256.Sum256([]byte(text))} }

// Shown reports whether a request shows the token as a bearer.
func (t Token) Shown(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(given))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], t.sum[:]) == 1
}

// ByAddress reports whether a Host header is an IP address or localhost: a name could be a
// web page's that points here.
func ByAddress(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

// Serve answers until ctx ends, and closes the listener. Requests that are under way then
// are cut off after some seconds.
func Serve(ctx context.Context, server *http.Server, l net.Listener) error {
	var closing sync.WaitGroup
	defer closing.Wait()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	closing.Go(func() {
		<-serving.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close()
		}
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
