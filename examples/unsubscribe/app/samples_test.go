package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/mail/samples"
	"github.com/posthorn/posthorn/examples/unsubscribe/oneclick"
	"github.com/posthorn/posthorn/examples/unsubscribe/provider"
)

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

// clientOf returns a client that reaches the provider and nothing else.
func clientOf(t *testing.T, s *provider.Server, timeout time.Duration) *oneclick.Client {
	t.Helper()
	c, err := oneclick.New(oneclick.Options{
		Resolver: oneclick.Offline{}, Routes: s.Routes(), RootCAs: s.RootCAs(),
		Allow: []netip.AddrPort{s.Addr()}, Timeout: timeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rejected are the samples whose message is rejected, by the number of the
// file, and why.
func rejected() map[string]error {
	return map[string]error{
		"09": app.ErrMailtoOnly, "10": app.ErrWebOnly, "11": app.ErrNoMethod, "12": app.ErrWebOnly,
		"13": app.ErrWebOnly, "14": app.ErrMailtoOnly, "39": app.ErrNoMethod, "41": app.ErrNoMethod,
		"29": oneclick.ErrURL, "34": oneclick.ErrURL, "35": oneclick.ErrURL, "36": oneclick.ErrURL,
		"30": oneclick.ErrAddress, "31": oneclick.ErrAddress, "32": oneclick.ErrAddress, "33": oneclick.ErrAddress,
		"37": oneclick.ErrName, "62": oneclick.ErrRedirect, "63": oneclick.ErrStatus,
		"66": oneclick.ErrResponse, "67": oneclick.ErrStatus,
	}
}

// temporary are the samples whose first attempt fails and is tried again.
func temporary() map[string]error {
	return map[string]error{
		"60": oneclick.ErrUnavailable, "61": oneclick.ErrUnavailable,
		"64": oneclick.ErrTimeout, "65": oneclick.ErrNetwork,
	}
}

// expected is how the first attempt of a sample ends.
func expected(number string) (driver.Class, error) {
	if err := rejected()[number]; err != nil {
		return driver.ClassReject, err
	}
	if err := temporary()[number]; err != nil {
		return driver.ClassFailure, err
	}
	return driver.ClassDone, nil
}

func TestEachSampleEndsAsItShouldAtTheProvider(t *testing.T) {
	s := startProvider(t)
	patient, hasty := clientOf(t, s, time.Minute), clientOf(t, s, 100*time.Millisecond)
	db := openDB(t)
	if _, err := app.Import(t.Context(), on(t, db), newDispatcher(t), app.ImportOptions{Files: samples.FS()}); err != nil {
		t.Fatal(err)
	}
	done := 0
	for file, body := range queued(t, db) {
		number, _, _ := strings.Cut(file, "-")
		var msg app.UnsubscribeEmail
		if err := json.Unmarshal(body, &msg); err != nil {
			t.Fatal(err)
		}
		c := patient
		if number == "64" { // the one that hangs
			c = hasty
		}
		effect, d, err := slowPart(t, c, msg)
		class, want := expected(number)
		if got := posthorn.ClassOf(err); got != class || !errors.Is(err, want) {
			t.Errorf("%s: %s (%v), want %s (%v)", file, got, err, class, want)
			continue
		}
		if err != nil {
			continue
		}
		if _, err := commit(t, db, effect, d); err != nil {
			t.Errorf("%s: effect: %v", file, err)
		}
		done++
		if n := s.Counts()[pathOf(msg.URL)]; n != 1 {
			t.Errorf("%s: the provider got %d valid POSTs", file, n)
		}
	}
	if n := one[int](t, db, `select count(distinct mail) from unsubscribed`); n != done || done < 20 {
		t.Errorf("%d of %d are recorded", n, done)
	}
	if n := one[int](t, db, `select count(*) from notification where shortened = 1`); n != 3 {
		t.Errorf("%d notifications are shortened, want 3", n)
	}
}

// pathOf is a URL without its scheme and host.
func pathOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest[max(strings.IndexByte(rest, '/'), 0):]
}
