package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/proxy"
	"github.com/posthorn/posthorn/internal/testserver"
)

// ask gets a probe's answer.
func ask(t *testing.T, url string) (code int, body string, err error) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestTheMonitorServesProbesThatSayWhatItJudges(t *testing.T) {
	port, err := proxy.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	st := newStage(t, "health: {listen: '"+at+"'}\nmonitor: {every: 1s, rules: {workers: {for: 1s}}}\n")
	if code := st.run("transport", "setup"); code != 0 {
		t.Fatalf("transport setup: code %d\n%s", code, st.errs.String())
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	code := -1
	wg.Go(func() { code = st.run("monitor") })
	var body string
	probe := func(path string, want int) {
		t.Helper()
		st.await(fmt.Sprintf("%s with code %d", path, want), func() bool {
			got, text, err := ask(t, "http://"+at+path)
			body = text
			return err == nil && got == want
		})
	}
	probe("/healthz", http.StatusOK)
	probe("/readyz", http.StatusOK)
	probe("/", http.StatusNotFound)
	probe("/readyz", http.StatusOK)
	for _, want := range []string{`"kind":"Health"`, `"version":1`, `"level":"warning"`, `"name":"workers"`} {
		st.await(want, func() bool { probe("/healthz", http.StatusOK); return strings.Contains(body, want) })
	}
	st.signals <- syscall.SIGTERM
	wg.Wait()
	if code != 0 {
		t.Errorf("monitor: code %d\n%s", code, st.errs.String())
	}
}

func TestProbesTellOfAnOutageAndOfItsEnd(t *testing.T) {
	st := newStage(t, "") // first: its look for leaks comes after the server's end
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	link := proxy.New(t, proxy.PostgreSQL, server.Addr())
	port, err := proxy.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	st.write("store: " + server.DSNAt(link.Addr(), "postgres", "") + "\nhealth: {listen: '" + at + "'}\n" +
		"monitor: {every: 1s, rules: {store: {for: 1s}, workers: {enabled: false}}}\n")
	if code := st.run("transport", "setup"); code != 0 {
		t.Fatalf("transport setup: code %d\n%s", code, st.errs.String())
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { st.run("monitor") })
	defer func() { st.signals <- syscall.SIGTERM }()
	answers := func(path string, code int, level string) {
		t.Helper()
		st.await(fmt.Sprintf("%s %d %s", path, code, level), func() bool {
			got, text, err := ask(t, "http://"+at+path)
			var doc struct{ Summary struct{ Level string } }
			return err == nil && got == code && json.Unmarshal([]byte(text), &doc) == nil && doc.Summary.Level == level
		})
	}
	answers("/readyz", http.StatusOK, "ok")
	link.Refuse(true)
	link.Cut()
	answers("/readyz", http.StatusServiceUnavailable, "critical")
	answers("/healthz", http.StatusOK, "critical")
	st.awaitText("condition=store", 1)
	link.Refuse(false)
	// It is told for half a minute more; then it is over. That wait is the
	// engine's, and tested there.
	answers("/readyz", http.StatusServiceUnavailable, "critical")
}

func TestHealthEndsThoughTheStoreHangs(t *testing.T) {
	st := newStage(t, "") // first: its look for leaks comes after the server's end
	server := testserver.PostgreSQL(t, testserver.Options{Volatile: true})
	link := proxy.New(t, proxy.PostgreSQL, server.Addr())
	st.write("store: " + server.DSNAt(link.Addr(), "postgres", "") + "\n")
	if code := st.run("transport", "setup"); code != 0 {
		t.Fatalf("transport setup: code %d\n%s", code, st.errs.String())
	}
	link.Freeze(true)
	ended := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if code := st.run("health"); code != 69 {
			ended <- fmt.Errorf("code %d, want 69", code)
		}
		if code := st.run("health", "--nagios"); code != 2 {
			ended <- fmt.Errorf("--nagios: code %d, want 2", code)
		}
		ended <- nil
	})
	defer link.Freeze(false)
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute): // a safety net: 2 × 10 s are the bound
		t.Error(errors.New("health hangs with the store"))
	}
	if out := st.out.String(); !strings.Contains(out, "store") || !strings.Contains(out, "POSTHORN CRITICAL") {
		t.Errorf("it says:\n%s", out)
	}
}
