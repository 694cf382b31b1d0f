package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/posthorn/posthorn"
)

// scrape reads the metrics at the address that the command has told. It is empty while
// there is none.
func (st *stage) scrape(token string) string {
	m := regexp.MustCompile(`metrics at (http://\S+)`).FindStringSubmatch(st.errs.String())
	if m == nil {
		return ""
	}
	r, err := http.NewRequestWithContext(st.t.Context(), http.MethodGet, m[1], nil)
	if err != nil {
		st.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("# status %d\n", resp.StatusCode)
	}
	return string(text)
}

// awaitMetric waits for a line of the metrics.
func (st *stage) awaitMetric(line string) {
	st.t.Helper()
	st.await("the metric "+line, func() bool { return strings.Contains(st.scrape(""), "\n"+line+"\n") })
}

func TestUpShowsTheMetricsOfAllItsProcesses(t *testing.T) {
	sh := launch(t, "metrics: {listen: '127.0.0.1:0'}\nprograms: {p: {processes: 2}}\n")
	sh.sail()
	sh.awaitText("worker starts", 2)
	const messages = 40
	for i := range messages {
		sh.dispatch("insert", fmt.Sprintf(`{"n":%d}`, i))
	}
	done := `posthorn_messages_total{class="done",kind="insert",queue="async",transport="async",verdict="ack"} `
	sh.awaitMetric(done + "40")
	sh.awaitMetric(`posthorn_message_run_seconds_count{kind="insert"} 40`)
	sh.awaitMetric(`posthorn_queue_messages{queue="async",state="ready",transport="async"} 0`)
	sh.awaitMetric(`posthorn_workers{program="p",state="running"} 2`)
	sh.awaitMetric("posthorn_store_up 1")
	if err := syscall.Kill(sh.workers()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sh.awaitMetric(`posthorn_process_restarts_total{program="p",reason="signal"} 1`)
	sh.awaitText("worker starts", 3)
	sh.awaitMetric(done + "40") // what the dead one had counted stays
	sh.anchor()
}

func TestMetricsBeyondThisHostNeedAToken(t *testing.T) {
	st := newStage(t, "metrics: {listen: '0.0.0.0:0'}\n")
	if code := st.run("config", "validate"); code != 78 || !strings.Contains(st.errs.String(), "needs a token") {
		t.Errorf("code %d\n%s", code, st.errs.String())
	}
	for _, config := range []string{
		"metrics: {listen: '0.0.0.0:0', token: c4n4ry}\n",                // too short
		"metrics: {listen: '0.0.0.0:0', token_file: /nowhere/at/all}\n",  // not there
		"metrics:\n  listen: 127.0.0.1:0\n  token: [c4n4ry, c4n4ry]\n",   // no text
		"metrics: {listen: 'x', token: c4n4ryc4n4ryc4n4ry}\n",            // no address
		"metrics: {token: c4n4ryc4n4ryc4n4ry, token_file: /etc/token}\n", // which?
	} {
		st := newStage(t, config)
		st.shop()
		if code := st.run("consume"); code != 78 || strings.Contains(st.errs.String()+st.out.String(), "c4n4ry") {
			t.Errorf("%s: code %d\n%s", config, code, st.errs.String())
		}
	}
}

// Processes apart may share an address; one process cannot listen at it twice.
func TestOnlyWhatOneProcessWouldListenAtTwiceIsRefused(t *testing.T) {
	const shared = "metrics: {listen: '127.0.0.1:1'}\nhealth: {listen: 'localhost:1'}\n"
	st := newStage(t, shared)
	if code := st.run("config", "validate"); code != 0 || !strings.Contains(st.errs.String(), "up listens at both") {
		t.Errorf("validate: code %d\n%s", code, st.errs.String())
	}
	st = newStage(t, shared)
	st.shop()
	if code := st.run("up"); code != 78 || !strings.Contains(st.errs.String(), "metrics.listen and health.listen") {
		t.Errorf("up: code %d\n%s", code, st.errs.String())
	}
	st = newStage(t, shared)
	st.shop()
	if code := st.run("consume", "--time-limit", "1"); code != 0 {
		t.Errorf("consume: code %d\n%s", code, st.errs.String())
	}
}

// writeToken writes the file of a token, unless its mode is 0.
func writeToken(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if mode == 0 {
		return
	}
	if err := errors.Join(os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestConfigValidateReadsTokenFiles(t *testing.T) {
	dir := t.TempDir()
	for _, listener := range []string{"metrics: {listen: '0.0.0.0:0'", "api: {listen: '127.0.0.1:0'"} {
		for _, c := range []struct {
			name, text string
			mode       os.FileMode
			code       int
			says       string
		}{
			{"missing", "", 0, 78, "no such file"},
			{"empty", "\n", 0o600, 78, "has 0 bytes"},
			{"short", "c4n4ry\n", 0o600, 78, "has 6 bytes"},
			{"good", "c4n4ryc4n4ryc4n4ry\n", 0o640, 0, "valid"},
			{"open", "c4n4ryc4n4ryc4n4ry\n", 0o644, 0, "every user of this host can read"},
			{".", "", 0, 78, "is a directory"}, // it cannot be read, not even by root
		} {
			file := filepath.Join(dir, c.name)
			writeToken(t, file, c.text, c.mode)
			st := newStage(t, listener+", token_file: "+file+"}\n")
			code := st.run("config", "validate")
			said := st.out.String() + st.errs.String()
			if code != c.code || !strings.Contains(said, c.says) || strings.Contains(said, "c4n4ry") {
				t.Errorf("%s, %s: code %d, want %d; it says\n%s", listener, c.name, code, c.code, said)
			}
			if c.name == "good" && strings.Contains(said, "every user") {
				t.Errorf("a file of 0640 is called open:\n%s", said)
			}
		}
	}
}

func TestConfigValidateTellsOfEachTokenFile(t *testing.T) {
	st := newStage(t, "metrics: {listen: '0.0.0.0:0', token_file: a}\napi: {listen: '127.0.0.1:0', token_file: b}\n")
	code, said := st.run("config", "validate"), st.errs.String()
	if code != 78 || !strings.Contains(said, "E-METRICS-TOKEN") || !strings.Contains(said, "E-API-TOKEN") {
		t.Errorf("code %d; it says\n%s", code, said)
	}
}

// A worker that nobody supervises warns of files of secrets by itself, once.
func TestConsumeWarnsOfAFileThatEverybodyReads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	writeToken(t, file, "c4n4ryc4n4ryc4n4ry\n", 0o644)
	st := newStage(t, "metrics: {listen: '127.0.0.1:0', token_file: "+file+"}\n")
	st.shop()
	if code := st.run("consume", "--time-limit", "1"); code != 0 {
		t.Errorf("code %d", code)
	}
	if n := strings.Count(st.errs.String(), "every user of this host can read"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, st.errs.String())
	}
}

func TestConsumeGoesOnWithoutAnAddressForItsMetrics(t *testing.T) {
	first := newStage(t, "metrics: {listen: '127.0.0.1:0'}\n")
	var wg sync.WaitGroup
	defer wg.Wait()
	first.shop()
	wg.Go(func() { first.run("consume") })
	first.await("its metrics", func() bool { return first.scrape("") != "" })
	taken := regexp.MustCompile(`http://(\S+)/metrics`).FindStringSubmatch(first.errs.String())[1]
	second := newStage(t, "metrics: {listen: '"+taken+"'}\n")
	second.shop()
	if code := second.run("dispatch", "greet", `{"to":"a"}`); code != 0 {
		t.Fatal(second.errs.String())
	}
	if code := second.run("consume", "--limit", "1"); code != 0 {
		t.Errorf("code %d\n%s", code, second.errs.String())
	}
	if !strings.Contains(second.errs.String(), "going on without") {
		t.Errorf("nothing is said of it:\n%s", second.errs.String())
	}
	first.signals <- syscall.SIGTERM
}

// A hostile message fails as its error says.
type hostile struct {
	Text string `json:"text"`
}

// Kind names it.
func (hostile) Kind() string { return "hostile" }

// TestNoSecretAndNoControlCharacterLeaves runs secrets and control characters through
// dispatch, handler, failure, log and metrics.
func TestNoSecretAndNoControlCharacterLeaves(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			const token = "c4n4ry-token-c4n4ry"
			st := newStage(t, "metrics: {listen: '127.0.0.1:0', token: '${THE_TOKEN}'}\n"+
				"transports: {async: {retry: {max_retries: 1, delay: 1ms}}}\n")
			t.Setenv("THE_TOKEN", token)
			st.app.Mux = posthorn.NewMux()
			st.app.Setup = nil
			fails := 0
			posthorn.Handle(st.app.Mux, func(ctx context.Context, m hostile) error {
				posthorn.Logger(ctx).Info("handling", "error", errors.New("at "+token))
				fails++
				return errors.New(poison(m.Text))
			})
			st.dispatchHostile()
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { st.run("consume", "--log-format", format, "--log-level", "debug") })
			st.awaitText("dead letter", 1)
			var metrics string
			st.await("the metrics", func() bool {
				metrics = st.scrape(token)
				return strings.Contains(metrics, "posthorn_buried_messages_total{queue=\"async\"} 1")
			})
			if got := st.scrape("another one"); got != "# status 401\n" {
				t.Errorf("without the token there is an answer: %q", got)
			}
			st.signals <- syscall.SIGTERM
			wg.Wait()
			wantClean(t, "stderr", st.errs.String())
			wantClean(t, "stdout", st.out.String())
			wantClean(t, "metrics", metrics)
			if fails != 2 || !strings.Contains(st.errs.String(), "attempt failed") {
				t.Errorf("the handler has failed %d times\n%s", fails, st.errs.String())
			}
		})
	}
}

// poison is the text of an error with secrets and control characters in it.
func poison(body string) string {
	return "dial postgres://app:" + body + "@db/x?password=c4n4ry: Authorization: Bearer c4n4ryc4n4ry; " +
		`token="c4n4ry" api_key: c4n4ry ` + "\x1b[2J\x1b]0;x\a\r\n\u202e\u2066\u009b31m\x00\xff end"
}

// dispatchHostile sends a message with secrets and control characters wherever they fit.
func (st *stage) dispatchHostile() {
	st.t.Helper()
	body := filepath.Join(st.t.TempDir(), "body")
	if err := os.WriteFile(body, []byte(`{"text":"c4n4ry\u001b[31m\u202e"}`), 0o600); err != nil {
		st.t.Fatal(err)
	}
	code := st.run("dispatch", "hostile", "@"+body, "--header", "authorization=c4n4ry\x1b[31m\u202e",
		"--header", "traceparent=00-c4n4ry\x1b-b7ad6b7169203331-01")
	if code != 0 {
		st.t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
	}
}

func wantClean(t *testing.T, name, text string) {
	t.Helper()
	if strings.Contains(text, "c4n4ry") {
		t.Errorf("%s has a secret:\n%s", name, text)
	}
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
			t.Fatalf("%s has the character %U:\n%q", name, r, text)
		}
	}
}
