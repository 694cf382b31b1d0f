//go:build linux

package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/metrics"
)

func plain() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
}

// eventually waits for something to be so.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * patience); !yes(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to pass: %s", what)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hasty makes waits of the generated files short, for tests.
func hasty(text []byte) string {
	return regexp.MustCompile(`(for|group_wait|group_interval|repeat_interval): \d+[smh]\b`).
		ReplaceAllString(string(text), "$1: 1s")
}

// A prometheus is a private server that scrapes one exporter each second.
type prometheus struct {
	t       *testing.T
	address string
}

// startPrometheus scrapes with the token, and sends alerts to an address if there is one.
func startPrometheus(t *testing.T, e *metrics.Exporter, alerts string) *prometheus {
	t.Helper()
	path := testserver.Program(t, "prometheus", "prometheus")
	p := &prometheus{t: t, address: freePort(t)}
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: posthorn
    authorization: {credentials_file: %s}
    static_configs: [{targets: [%s]}]
`, write(t, "rules.yml", hasty(metrics.Rules())), write(t, "token", token), e.Address())
	if alerts != "" {
		config += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%s]}]}]}\n", alerts)
	}
	testserver.Serve(t, "http://"+p.address+"/-/ready", path, "--config.file="+write(t, "prometheus.yml", config),
		"--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+p.address, "--enable-feature=exemplar-storage")
	return p
}

// query returns how many series an expression has.
func (p *prometheus) query(expr string) int {
	p.t.Helper()
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	p.get("query?query="+url.QueryEscape(expr), &answer)
	if answer.Status != "success" {
		p.t.Fatalf("query %s: %s", expr, answer.Error)
	}
	return len(answer.Data.Result)
}

func (p *prometheus) get(path string, into any) {
	p.t.Helper()
	resp, err := plain().Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		p.t.Fatal(err)
	}
}

// pipe runs a program with an input, which must end well and say nothing against it.
func pipe(t *testing.T, input, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, out)
	}
}

func TestTheCheckersOfPrometheusFindNothing(t *testing.T) {
	promtool, amtool := testserver.Program(t, "promtool", "prometheus"),
		testserver.Program(t, "amtool", "prometheus-alertmanager")
	shop := openShop(t)
	shop.busy(t)
	pipe(t, scrape(t, shop.exporter), promtool, "check", "metrics")
	pipe(t, "", promtool, "check", "rules", write(t, "rules.yml", string(metrics.Rules())))
	pipe(t, "", promtool, "test", "rules", "testdata/rules_test.yml")
	pipe(t, "", amtool, "check-config", write(t, "alertmanager.yml", string(metrics.Alertmanager())))
}

// used is a name of a metric of ours in an expression.
var used = regexp.MustCompile(`\bposthorn_[a-z_]+`)

// TestEachExpressionHasData evaluates all that the generated files ask for, while a demo
// runs. Of an alert it is what stands before the last comparison.
func TestEachExpressionHasData(t *testing.T) {
	shop := openShop(t)
	p := startPrometheus(t, shop.exporter, "")
	eventually(t, "the first scrape", func() bool { return p.query("posthorn_build_info") == 1 })
	stop := run(t, shop.demo)
	defer stop()
	compared := regexp.MustCompile(`\s(>|<|==) [0-9.]+$`)
	exprs := dashboardExpressions(t)
	for _, e := range ruleExpressions(t) {
		exprs = append(exprs, compared.ReplaceAllString(e, ""))
	}
	if len(exprs) < 60 {
		t.Fatalf("only %d expressions were found", len(exprs))
	}
	for i, expr := range exprs {
		if strings.HasPrefix(expr, "absent(") { // its data is that there is none
			exprs[i] = strings.Trim(strings.TrimPrefix(expr, "absent"), "()")
		}
		eventually(t, "data of "+expr, func() bool { return p.query(exprs[i]) > 0 })
	}
	// Only now: a family stands in the text when something of it has happened.
	text := scrape(t, shop.exporter)
	for _, expr := range exprs {
		for _, name := range used.FindAllString(expr, -1) {
			family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !strings.Contains(text, "\n# TYPE "+name+" ") && !strings.Contains(text, "\n# TYPE "+family+" histogram") {
				t.Errorf("%s uses %s, which is not among the metrics", expr, name)
			}
		}
	}
	eventually(t, "an exemplar", func() bool {
		var exemplars struct{ Data []json.RawMessage }
		at := time.Now()
		p.get(fmt.Sprintf("query_exemplars?query=posthorn_message_run_seconds_bucket&start=%d&end=%d",
			at.Add(-time.Hour).Unix(), at.Add(time.Minute).Unix()), &exemplars)
		return len(exemplars.Data) > 0
	})
}

// dashboardExpressions are those of the dashboards, with the variables filled in.
func dashboardExpressions(t *testing.T) (exprs []string) {
	t.Helper()
	boards, err := metrics.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boards {
		var doc struct {
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(b.JSON, &doc); err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
		for _, p := range doc.Panels {
			for _, target := range p.Targets {
				exprs = append(exprs, strings.NewReplacer("$__rate_interval", "1m", "$queue", ".*", "$program", ".*").
					Replace(target.Expr))
			}
		}
	}
	return exprs
}

func TestAnAlertFiresArrivesAndIsResolved(t *testing.T) {
	alertmanager := testserver.Program(t, "prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
	var mu sync.Mutex
	var got []string
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var note struct {
			Alerts []struct {
				Status      string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
		text, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(text, &note)
		mu.Lock()
		defer mu.Unlock()
		for _, a := range note.Alerts {
			got = append(got, r.URL.Path+" "+a.Labels["alertname"]+" "+a.Status+": "+a.Annotations["command"])
		}
	}))
	defer receiver.Close()
	arrived := func(what string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(strings.Join(got, "\n"), what)
		}
	}
	address := freePort(t)
	config := strings.ReplaceAll(hasty(metrics.Alertmanager()), "http://127.0.0.1:9095", receiver.URL)
	testserver.Serve(t, "http://"+address+"/-/ready", alertmanager, "--config.file="+write(t, "alertmanager.yml", config),
		"--storage.path="+t.TempDir(), "--web.listen-address="+address, "--cluster.listen-address=")
	away := &source{}
	e := start(t, metrics.Options{Token: token, Store: away})
	p := startPrometheus(t, e, address)
	eventually(t, "a scrape of a store that is up", func() bool { return p.query("posthorn_store_up == 1") == 1 })
	away.set(errAway)
	eventually(t, "the alert fires", arrived("/pager PosthornStoreDown firing: posthorn doctor"))
	away.set(nil)
	eventually(t, "it is resolved", arrived("/pager PosthornStoreDown resolved: posthorn doctor"))
}

func (s *source) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// demo keeps the shop busy until ctx ends.
func (s *shop) demo(ctx context.Context) error {
	for ctx.Err() == nil {
		s.busy(s.t)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
