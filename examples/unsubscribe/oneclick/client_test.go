package oneclick_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
	"github.com/posthorn/posthorn/examples/unsubscribe/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startProvider runs a provider until the test ends.
func startProvider(t *testing.T) *provider.Server {
	t.Helper()
	s, err := provider.New(provider.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("provider: %v", err)
		}
	})
	return s
}

// opened are options that reach the provider, and nothing else.
func opened(s *provider.Server) oneclick.Options {
	return oneclick.Options{
		Resolver: oneclick.Offline{}, Routes: s.Routes(), RootCAs: s.RootCAs(), Allow: []netip.AddrPort{s.Addr()},
	}
}

func newClient(t *testing.T, o oneclick.Options) *oneclick.Client {
	t.Helper()
	c, err := oneclick.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// resolver answers with the next of its answers, and the last one for ever.
type resolver struct {
	answers [][]netip.Addr
	calls   atomic.Int32
}

func (r *resolver) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network != "ip" {
		return nil, errors.New("network is " + network)
	}
	n := int(r.calls.Add(1))
	return r.answers[min(n, len(r.answers))-1], nil
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

// check compares an error with what it must be, and holds what is true of all.
func check(t *testing.T, err, reason error, permanent bool) *oneclick.Error {
	t.Helper()
	var e *oneclick.Error
	if !errors.Is(err, reason) || !errors.As(err, &e) {
		t.Fatalf("error is %v, want %v", err, reason)
	}
	if e.Permanent() != permanent {
		t.Errorf("%v: permanent is %v", err, e.Permanent())
	}
	text := err.Error()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 600 {
		t.Errorf("error is not short printable ASCII: %q", text)
	}
	return e
}

func TestEachBehaviourOfAProviderHasItsVerdict(t *testing.T) {
	s := startProvider(t)
	o := opened(s)
	c := newClient(t, o)
	for path, w := range map[string]struct {
		reason    error
		permanent bool
		status    int
	}{
		"/redirect/1": {oneclick.ErrRedirect, true, 302},
		"/gone/1":     {oneclick.ErrStatus, true, 410},
		"/hostile/1":  {oneclick.ErrStatus, true, 400},
		"/huge/1":     {oneclick.ErrResponse, true, 200},
		"/nowhere":    {oneclick.ErrStatus, true, 404},
		"/flaky/1":    {oneclick.ErrUnavailable, false, 503},
		"/reset/1":    {oneclick.ErrNetwork, false, 0},
	} {
		t.Run(path, func(t *testing.T) {
			e := check(t, c.Unsubscribe(t.Context(), "https://lists.example"+path), w.reason, w.permanent)
			if e.Status != w.status || e.After != 0 || e.Host != "lists.example" {
				t.Errorf("error is %+v", e)
			}
		})
	}
}

func TestAProviderThatSaysYesIsBelieved(t *testing.T) {
	s := startProvider(t)
	c := newClient(t, opened(s))
	for _, url := range []string{
		"https://lists.example/ok/1?user=ann&x=%0d%0a#fragment", "https://LISTS.example.:443/ok/2",
		"https://xn--bcher-kva.lists.example/ok/3", s.URL() + "/ok/4", "https://lists.example/slow/1/5",
	} {
		if err := c.Unsubscribe(t.Context(), url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	want := []string{"/ok/1?user=ann&x=%0d%0a", "/ok/2", "/ok/3", "/ok/4", "/slow/1/5"}
	for _, key := range want {
		if n := s.Counts()[key]; n != 1 {
			t.Errorf("%s: %d valid POSTs", key, n)
		}
	}
}

func TestAFlakyProviderGivesInAndNamesItsDelay(t *testing.T) {
	s := startProvider(t)
	c := newClient(t, opened(s))
	const url = "https://lists.example/flaky-after/1"
	for range 2 {
		if e := check(t, c.Unsubscribe(t.Context(), url), oneclick.ErrUnavailable, false); e.After != time.Second {
			t.Errorf("wait is %s", e.After)
		}
	}
	if err := c.Unsubscribe(t.Context(), url); err != nil {
		t.Error(err)
	}
}

func TestAServerThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	s := startProvider(t)
	o := opened(s)
	o.Timeout = 100 * time.Millisecond
	err := newClient(t, o).Unsubscribe(t.Context(), "https://lists.example/hang/1")
	check(t, err, oneclick.ErrTimeout, false)
}

func TestTheCallersOwnCauseIsReported(t *testing.T) {
	s := startProvider(t)
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(50*time.Millisecond, func() { cancel(stopping) })
	defer timer.Stop()
	err := newClient(t, opened(s)).Unsubscribe(ctx, "https://lists.example/hang/1")
	var e *oneclick.Error
	if !errors.Is(err, stopping) || errors.As(err, &e) {
		t.Errorf("error is %v", err)
	}
}

func TestWithoutAllowTheProviderIsRefused(t *testing.T) {
	s := startProvider(t)
	o := opened(s)
	o.Allow = []netip.AddrPort{netip.AddrPortFrom(s.Addr().Addr(), s.Addr().Port()^1)}
	c := newClient(t, o)
	check(t, c.Unsubscribe(t.Context(), "https://lists.example/ok/1"), oneclick.ErrAddress, true)
	check(t, c.Unsubscribe(t.Context(), s.URL()+"/ok/1"), oneclick.ErrURL, true)
	if len(s.Counts()) != 0 {
		t.Errorf("the provider got %v", s.Counts())
	}
}

func TestAnUntrustedCertificateIsRefused(t *testing.T) {
	s, other := startProvider(t), startProvider(t)
	o := opened(s)
	o.RootCAs = other.RootCAs()
	check(t, newClient(t, o).Unsubscribe(t.Context(), "https://lists.example/ok/1"), oneclick.ErrCertificate, true)

	o = opened(s)
	o.Routes["evil.example"] = s.Addr()
	check(t, newClient(t, o).Unsubscribe(t.Context(), "https://evil.example/ok/1"), oneclick.ErrCertificate, true)
	if len(s.Counts()) != 0 {
		t.Errorf("the provider got %v", s.Counts())
	}
}

func TestANameThatChangesItsAnswerIsLookedUpOnce(t *testing.T) {
	s := startProvider(t)
	trap, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), s.Addr().Port()).String())
	if err != nil {
		t.Skipf("no second loopback address: %v", err)
	}
	defer func() { _ = trap.Close() }()
	r := &resolver{answers: [][]netip.Addr{addrs("127.0.0.1"), addrs("127.0.0.2")}}
	o := opened(s)
	o.Routes, o.Resolver = nil, r
	url := "https://" + netip.AddrPortFrom(s.Addr().Addr(), s.Addr().Port()).String() + "/ok/1"
	url = strings.Replace(url, "127.0.0.1", "lists.example", 1)
	c := newClient(t, o)
	if err := c.Unsubscribe(t.Context(), url); err != nil {
		t.Errorf("first answer: %v", err)
	}
	if n := r.calls.Load(); n != 1 {
		t.Errorf("%d look-ups for one request", n)
	}
	check(t, c.Unsubscribe(t.Context(), url), oneclick.ErrAddress, true)
	if n := s.Counts()["/ok/1"]; n != 1 {
		t.Errorf("the provider got %d requests", n)
	}
}

func TestOneBadAddressSpoilsTheAnswer(t *testing.T) {
	s := startProvider(t)
	o := opened(s)
	o.Routes, o.Resolver = nil, &resolver{answers: [][]netip.Addr{addrs("127.0.0.1", "10.0.0.1")}}
	url := strings.Replace(s.URL(), "127.0.0.1", "lists.example", 1) + "/ok/1"
	check(t, newClient(t, o).Unsubscribe(t.Context(), url), oneclick.ErrAddress, true)
	if len(s.Counts()) != 0 {
		t.Errorf("the provider got %v", s.Counts())
	}
}

func TestTheNextAddressIsTriedWhenOneIsDead(t *testing.T) {
	s := startProvider(t)
	o := opened(s)
	o.Routes, o.Resolver = nil, &resolver{answers: [][]netip.Addr{addrs("127.0.0.3", "127.0.0.1")}}
	o.Allow = append(o.Allow, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), s.Addr().Port()))
	url := strings.Replace(s.URL(), "127.0.0.1", "lists.example", 1) + "/ok/1"
	if err := newClient(t, o).Unsubscribe(t.Context(), url); err != nil {
		t.Error(err)
	}
}

func TestAProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:9")
	s := startProvider(t)
	if err := newClient(t, opened(s)).Unsubscribe(t.Context(), "https://lists.example/ok/1"); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownNameIsFinalAndAResolverFaultIsNot(t *testing.T) {
	c := newClient(t, oneclick.Options{Resolver: oneclick.Offline{}})
	check(t, c.Unsubscribe(t.Context(), "https://unknown.example/"), oneclick.ErrName, true)
	c = newClient(t, oneclick.Options{Resolver: &resolver{answers: [][]netip.Addr{nil}}})
	check(t, c.Unsubscribe(t.Context(), "https://empty.example/"), oneclick.ErrName, true)
	c = newClient(t, oneclick.Options{Resolver: broken{}})
	check(t, c.Unsubscribe(t.Context(), "https://any.example/"), oneclick.ErrNetwork, false)
}

// broken is a resolver whose servers are out of order.
type broken struct{}

func (broken) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "server misbehaving \x1b[31m", Name: "any.example", IsTemporary: true}
}

func TestANegativeTimeoutIsRefused(t *testing.T) {
	if _, err := oneclick.New(oneclick.Options{Timeout: -1}); err == nil {
		t.Error("no error")
	}
}
