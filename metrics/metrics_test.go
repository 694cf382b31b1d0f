package metrics_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/internal/listen"
	"github.com/posthorn/posthorn/metrics"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/worker"
)

func TestEventsBecomeFigures(t *testing.T) {
	known := metrics.Known{Queues: map[string]string{"mail": "async"}}
	tally := metrics.NewTally(known)
	e := start(t, metrics.Options{Tally: tally, Known: known, Version: "1.2", Dialect: "sqlite"})
	tally.Observe(handled("mail", "welcome"))
	failed := handled("mail", "welcome")
	failed.Class, failed.Verdict, failed.Dropped = driver.ClassFailure, driver.Retry, 7
	tally.Observe(failed)
	lost := handled("mail", "welcome")
	lost.Class = driver.ClassLeaseLost
	tally.Observe(lost)
	tally.Observe(worker.Event{Stuck: true, Class: driver.ClassTimeout, Delivery: lost.Delivery})
	tally.Committed(7)
	tally.LeftDirty("welcome")
	tally.Crashed(2)
	tally.Restarted("mailers", "memory")
	want(t, scrape(t, e),
		`posthorn_messages_total{class="done",kind="welcome",queue="mail",transport="async",verdict="ack"} 1`,
		`posthorn_messages_total{class="failure",kind="welcome",queue="mail",transport="async",verdict="retry"} 1`,
		`posthorn_messages_total{class="lease_lost",kind="welcome",queue="mail",transport="async",verdict="none"} 1`,
		`posthorn_message_run_seconds_bucket{kind="welcome",le="0.0025"} 0`,
		`posthorn_message_run_seconds_bucket{kind="welcome",le="0.005"} 3`,
		`posthorn_message_run_seconds_count{kind="welcome"} 3`,
		`posthorn_message_wait_seconds_bucket{queue="mail",le="0.025"} 0`,
		`posthorn_message_wait_seconds_bucket{queue="mail",le="0.05"} 3`,
		`posthorn_stuck_handlers_total{kind="welcome"} 1`,
		`posthorn_dropped_events_total 7`,
		`posthorn_group_commit_effects_bucket{le="5"} 0`,
		`posthorn_group_commit_effects_bucket{le="10"} 1`,
		`posthorn_dirty_connections_total{kind="welcome"} 1`,
		`posthorn_message_crashes_total 2`,
		`posthorn_process_restarts_total{program="mailers",reason="memory"} 1`,
	)
}

func TestATraceBecomesAnExemplarOfTheRunTime(t *testing.T) {
	tally := metrics.NewTally(metrics.Known{})
	e := start(t, metrics.Options{Tally: tally})
	for flags, id := range map[string]string{"01": strings.Repeat("ab", 16), "00": strings.Repeat("cd", 16)} {
		ev := handled("q", "k"+flags)
		ev.Delivery.Header = map[string]string{"traceparent": "00-" + id + "-b7ad6b7169203331-" + flags}
		tally.Observe(ev)
	}
	_, text := ask(t, e, func(r *http.Request) { r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0") })
	line := `posthorn_message_run_seconds_bucket{kind="k01",le="0.005"} 1 # {trace_id="` +
		strings.Repeat("ab", 16) + `"} 0.003 `
	if !strings.Contains(text, line) {
		t.Errorf("there is no exemplar in\n%s", ours(text))
	}
	if strings.Contains(text, "cdcd") {
		t.Error("a trace that was not sampled is an exemplar")
	}
}

func TestTheNumberOfSeriesIsBoundedWhateverMessagesSay(t *testing.T) {
	known := metrics.Known{Kinds: []string{"mine"}, Queues: map[string]string{"mail": "async"}}
	tally := metrics.NewTally(known)
	for i := range 3000 {
		for j := range 20 {
			ev := handled(fmt.Sprintf("q%d", (i+j)%200), fmt.Sprintf("k%d", i))
			ev.Class = driver.Class(fmt.Sprintf("class%d", i%100))
			tally.Observe(ev)
		}
		tally.LeftDirty(fmt.Sprintf("k%d", i))
		tally.Restarted(fmt.Sprintf("p%d", i), fmt.Sprintf("r%d", i))
	}
	tally.Observe(handled("mail", "mine"))
	e := start(t, metrics.Options{Tally: tally, Known: known})
	text := ours(scrape(t, e))
	lines := map[string]int{}
	total := 0.0
	for l := range strings.Lines(text) {
		name, _, _ := strings.Cut(l, "{")
		lines[name]++
		if name == "posthorn_messages_total" {
			total += number(l, l[:strings.LastIndexByte(l, ' ')])
		}
	}
	for name, most := range map[string]int{
		"posthorn_messages_total": 10_000 + 31*5, "posthorn_message_run_seconds_count": 1001,
		"posthorn_message_wait_seconds_count": 201, "posthorn_dirty_connections_total": 1001,
		"posthorn_process_restarts_total": 2121,
	} {
		if lines[name] > most || lines[name] == 0 {
			t.Errorf("%s has %d series, the bound is %d", name, lines[name], most)
		}
	}
	if total != 60_001 {
		t.Errorf("%v messages are counted, want all 60001", total)
	}
	want(t, text, `posthorn_message_run_seconds_count{kind="mine"} 1`)
	if !strings.Contains(text, `kind="other",queue="other",transport="other"`) {
		t.Error("nothing is counted under other")
	}
}

func TestHostileValuesAreHarmlessLabels(t *testing.T) {
	tally := metrics.NewTally(metrics.Known{})
	e := start(t, metrics.Options{Tally: tally, Version: "1\x1b[2J", Store: &source{
		queues: []store.QueueStats{{Queue: "q\u202e\x00"}}, workers: []driver.WorkerRecord{
			{Program: strings.Repeat("p\xff\n", 500), State: "\x1b[31m", Seen: time.Now()},
		},
	}})
	for _, kind := range []string{
		"a\nposthorn_fake 1", "b\"} 1", "\x1b]0;x\a", "\xff\xfe", strings.Repeat("é", 4000), "",
	} {
		tally.Observe(handled("q\r\n", kind))
		tally.LeftDirty(kind)
	}
	text := scrape(t, e)
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar) {
			t.Fatalf("the metrics have %U", r)
		}
	}
	for l := range strings.Lines(text) {
		if len(l) > 2000 {
			t.Errorf("a line has %d bytes: %s", len(l), l)
		}
		if strings.HasPrefix(l, "posthorn_fake") {
			t.Error("a kind has made a metric")
		}
	}
	want(t, ours(text), `posthorn_dirty_connections_total{kind="none"} 1`)
}

func TestTheStoreTellsItsFigures(t *testing.T) {
	s := &source{
		queues: []store.QueueStats{
			{Queue: "mail", Ready: 5, Delayed: 4, InFlight: 3, Suspects: 2, Dead: 1, OldestAge: time.Minute},
		},
		workers: []driver.WorkerRecord{
			{Program: "mailers", State: "running", Seen: time.Now(), RSS: 100, InFlight: 3, Concurrency: 8,
				Limits: driver.WorkerLimits{Memory: 1000}},
			{Program: "mailers", State: "stopping", Seen: time.Now(), RSS: 300, Concurrency: 8},
			{Program: "mailers", State: "running", Seen: time.Now().Add(-time.Hour), RSS: 900, Concurrency: 8},
		},
	}
	e := start(t, metrics.Options{Store: s, Known: metrics.Known{
		Queues: map[string]string{"mail": "async", "slow": "batch"}, Programs: []string{"mailers", "idle"},
	}})
	want(t, scrape(t, e),
		`posthorn_store_up 1`,
		`posthorn_queue_messages{queue="mail",state="ready",transport="async"} 5`,
		`posthorn_queue_messages{queue="mail",state="delayed",transport="async"} 4`,
		`posthorn_queue_messages{queue="mail",state="in_flight",transport="async"} 3`,
		`posthorn_queue_messages{queue="mail",state="suspect",transport="async"} 2`,
		`posthorn_queue_messages{queue="slow",state="ready",transport="batch"} 0`,
		`posthorn_queue_oldest_ready_seconds{queue="mail",transport="async"} 60`,
		`posthorn_dead_letters{queue="mail",transport="async"} 1`,
		`posthorn_dead_letter_groups{state="regressed"} 2`,
		`posthorn_dead_letter_groups{state="open"} 0`,
		`posthorn_queue_paused{queue="slow",transport="batch"} 1`,
		`posthorn_workers{program="mailers",state="running"} 1`,
		`posthorn_workers{program="mailers",state="stopping"} 1`,
		`posthorn_workers{program="mailers",state="silent"} 1`,
		`posthorn_workers{program="idle",state="running"} 0`,
		`posthorn_worker_resident_memory_bytes{program="mailers"} 300`,
		`posthorn_worker_memory_limit_bytes{program="mailers"} 1000`,
		`posthorn_worker_slots{program="mailers"} 16`,
		`posthorn_worker_messages_in_hand{program="mailers"} 3`,
	)
	scrape(t, e)
	if s.reads != 1 {
		t.Errorf("two scrapes in a row have read the store %d times, want 1", s.reads)
	}
}

func TestAStoreThatIsAwayHasNoFigures(t *testing.T) {
	for name, s := range map[string]*source{
		"fails": {err: errAway},
		"hangs": {hang: make(chan struct{}), queues: []store.QueueStats{{Queue: "mail", Ready: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, metrics.Options{Store: s, Known: metrics.Known{Queues: map[string]string{"mail": "async"}}})
			if s.hang != nil {
				defer close(s.hang)
			}
			wantNoFigures(t, scrape(t, e))
			wantNoFigures(t, scrape(t, e))
		})
	}
}

func wantNoFigures(t *testing.T, text string) {
	t.Helper()
	want(t, text, "posthorn_store_up 0", "posthorn_dropped_events_total 0")
	unknown := regexp.MustCompile(`posthorn_(queue|dead|workers)\S*|c4n4ry`)
	if found := unknown.FindString(ours(text)); found != "" {
		t.Errorf("%s is shown, but unknown", found)
	}
}

func TestWhoMayScrape(t *testing.T) {
	open := start(t, metrics.Options{})
	closed := start(t, metrics.Options{Token: token})
	for _, c := range []struct {
		name   string
		to     *metrics.Exporter
		change func(*http.Request)
		want   int
	}{
		{"loopback without a token", open, func(*http.Request) {}, 200},
		{"a page whose name points here", open, func(r *http.Request) { r.Host = "evil.example:9090" }, 421},
		{"localhost", open, func(r *http.Request) { r.Host = "localhost:9090" }, 200},
		{"another path", open, func(r *http.Request) { r.URL.Path = "/" }, 404},
		{"another method", open, func(r *http.Request) { r.Method = http.MethodPost }, 405},
		{"no token", closed, func(*http.Request) {}, 401},
		{"a wrong token", closed, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x"+token) }, 401},
		{"another scheme", closed, func(r *http.Request) { r.Header.Set("Authorization", "Basic "+token) }, 401},
		{"the token", closed, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, 200},
		{"the token, by a name", closed, func(r *http.Request) {
			r.Header.Set("Authorization", "bearer "+token)
			r.Host = "metrics.example"
		}, 200},
	} {
		if code, text := ask(t, c.to, c.change); code != c.want || code != 200 && strings.Contains(text, "posthorn_") {
			t.Errorf("%s: %d, want %d", c.name, code, c.want)
		}
	}
}

func TestAnOpenListenerNeedsAToken(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "127.8.9.1:0": true, "[::ffff:127.0.0.1]:0": true,
		"0.0.0.0:0": false, ":0": false, "[::]:0": false, "192.0.2.1:0": false, "[::ffff:192.0.2.1]:0": false,
	} {
		err := listen.Check(address, false)
		if allowed != (err == nil) || !allowed && !errors.Is(err, listen.ErrExposed) {
			t.Errorf("%s without a token: %v", address, err)
		}
		if err := listen.Check(address, true); err != nil {
			t.Errorf("%s with a token: %v", address, err)
		}
	}
	for _, address := range []string{"example.com:1", "127.0.0.1", "", "unix:/x"} {
		if listen.Check(address, true) == nil {
			t.Errorf("%q is accepted", address)
		}
	}
	if listen.CheckToken("short") == nil || listen.CheckToken(token) != nil {
		t.Error("a short token is accepted")
	}
	o := metrics.Options{Listen: "0.0.0.0:0", Tally: metrics.NewTally(metrics.Known{})}
	if _, err := metrics.NewExporter(o); err == nil {
		t.Error("an open listener without a token has begun to listen")
	}
}
