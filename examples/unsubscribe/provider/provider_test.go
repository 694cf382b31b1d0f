package provider_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/examples/unsubscribe/provider"
)

const (
	form    = "application/x-www-form-urlencoded"
	goodOne = "List-Unsubscribe=One-Click"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a provider. The function that it returns stops it and returns
// what Run returned.
func start(t *testing.T) (*provider.Server, func() error) {
	t.Helper()
	s, err := provider.New(provider.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() error {
		cancel()
		return <-ended
	}
}

// newHTTP returns an ordinary client that trusts the provider and follows nothing.
func newHTTP(t *testing.T, s *provider.Server) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.AuthorityPEM()) {
		t.Fatal("the authority's PEM has no certificate")
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func post(t *testing.T, c *http.Client, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	resp, err := c.Post(url, form, strings.NewReader(goodOne))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func TestEachPathBehavesAsItsNameSays(t *testing.T) {
	s, stop := start(t)
	c := newHTTP(t, s)
	for path, want := range map[string]int{
		"/ok/1": 200, "/slow/1/1": 200, "/slow/x/1": 404, "/redirect/1": 302, "/gone/1": 410, "/hostile/1": 400,
		"/huge/1": 200, "/nowhere": 404,
	} {
		status, header, body := post(t, c, s.URL()+path)
		if status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
		if path == "/huge/1" && len(body) != 10<<20 {
			t.Errorf("huge has %d bytes", len(body))
		}
		if path == "/hostile/1" && !bytes.Contains(body, []byte("\x1b[31m")) {
			t.Errorf("hostile says %q", body)
		}
		if path == "/redirect/1" && header.Get("Location") == "" {
			t.Error("redirect has no location")
		}
	}
	if _, err := c.Post(s.URL()+"/reset/1", form, strings.NewReader(goodOne)); err == nil {
		t.Error("reset answered")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestFlakyRefusesEachURLTwice(t *testing.T) {
	s, stop := start(t)
	c := newHTTP(t, s)
	for _, path := range []string{"/flaky/1", "/flaky/1?copy=1", "/flaky-after/1"} {
		var got []int
		for range 4 {
			status, header, _ := post(t, c, s.URL()+path)
			got = append(got, status)
			if after := header.Get("Retry-After"); (after == "1") != strings.HasPrefix(path, "/flaky-after") {
				t.Errorf("%s: Retry-After %q", path, after)
			}
		}
		if got[0] != 503 || got[1] != 503 || got[2] != 200 || got[3] != 200 {
			t.Errorf("%s: %v", path, got)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOnlyOneClickPostsAreCounted(t *testing.T) {
	s, stop := start(t)
	c := newHTTP(t, s)
	for name, change := range map[string]func(*http.Request){
		"method":       func(r *http.Request) { r.Method = http.MethodPut },
		"content type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"body":         func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x=y")), 3 },
		"cookie":       func(r *http.Request) { r.Header.Set("Cookie", "a=b") },
		"credentials":  func(r *http.Request) { r.SetBasicAuth("a", "b") },
		"referer":      func(r *http.Request) { r.Header.Set("Referer", "https://reader.example/") },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/ok/1", strings.NewReader(goodOne))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", form)
		change(req)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	post(t, c, s.URL()+"/ok/1")
	post(t, c, s.URL()+"/ok/1")
	post(t, c, s.URL()+"/gone/2?x=1")
	want := map[string]int{"/ok/1": 2, "/gone/2?x=1": 1}
	if got := s.Counts(); !maps.Equal(got, want) {
		t.Errorf("counts are %v, want %v", got, want)
	}
	checkServedCounts(t, c, s, want)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func checkServedCounts(t *testing.T, c *http.Client, s *provider.Server, want map[string]int) {
	t.Helper()
	resp, err := c.Get(s.URL() + "/counts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got map[string]int
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || !maps.Equal(got, want) {
		t.Errorf("served counts are %v, %v", got, err)
	}
}

func TestRunEndsWithRequestsThatHangAndNeverSaysYesToThem(t *testing.T) {
	s, stop := start(t)
	c := newHTTP(t, s)
	answers := make(chan error, 2)
	for _, path := range []string{"/hang/1", "/slow/50000/1"} {
		go func() {
			resp, err := c.Post(s.URL()+path, form, strings.NewReader(goodOne))
			if err == nil {
				_ = resp.Body.Close()
			}
			answers <- err
		}()
	}
	for len(s.Counts()) < 2 { // until both are in their handlers
		time.Sleep(time.Millisecond)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-answers; err == nil {
			t.Error("a request that hung was answered")
		}
	}
}

func TestAServerThatIsNotRunCanBeClosed(t *testing.T) {
	s, err := provider.New(provider.Options{Hosts: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if routes := s.Routes(); len(routes) != 1 || routes["a.example"] != s.Addr() || !s.Addr().Addr().IsLoopback() {
		t.Errorf("routes are %v", routes)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
