package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/testserver"
)

// Secrets of alerts, which nobody but the receivers may see.
const (
	hookSecret   = "c4n4ry-signs-0123456789"
	mailPassword = "c4n4ry-password"
)

// An inbox is what stands behind the addresses of channels.
type inbox struct {
	*httptest.Server
	mu     sync.Mutex
	got    map[string][]string // bodies, by the first part of the path
	forged []string
	broken bool // /down/ answers 503, and /hang/ never answers
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	b := &inbox{got: map[string][]string{}, broken: true}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

// ServeHTTP takes a body.
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	place, _, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	b.mu.Lock()
	defer b.mu.Unlock()
	if place == "hang" && b.broken {
		b.mu.Unlock()
		<-r.Context().Done()
		b.mu.Lock()
		return
	}
	if place == "down" && b.broken {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if place == "hook" || place == "down" {
		if err := alert.Verify(hookSecret, r.Header.Get(alert.SignatureHeader), body, time.Minute); err != nil {
			b.forged = append(b.forged, err.Error())
		}
	}
	b.got[place] = append(b.got[place], string(body))
}

func (b *inbox) mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = false
}

// has reports whether a place was told of words, all in one body.
func (b *inbox) has(place string, words ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return anyHas(b.got[place], words)
}

func anyHas(texts, words []string) bool {
	for _, text := range texts {
		all := true
		for _, word := range words {
			all = all && strings.Contains(text, word)
		}
		if all {
			return true
		}
	}
	return false
}

// informed adds channels to receivers, which end before the stage looks for what is left.
func informed(st *stage, rules string) (*inbox, *testserver.Mailbox) {
	st.t.Helper()
	b, box := newInbox(st.t), testserver.StartMailbox(st.t, nil, "shop", mailPassword)
	text, err := os.ReadFile(st.config)
	if err != nil {
		st.t.Fatal(err)
	}
	st.write(string(text) + rules + channelsTo(st.t, b, box))
	return b, box
}

// channelsTo is a configuration of all kinds of channels, and of a dead man's switch.
func channelsTo(t *testing.T, b *inbox, box *testserver.Mailbox) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
alerts:
  heartbeat: {url: %[1]s/alive/c4n4ry}
  channels:
    hook: {type: webhook, url: "%[1]s/hook/c4n4ry?token=c4n4ry", secret_file: %[3]s}
    down: {type: webhook, url: "%[1]s/down/c4n4ry", secret: %[4]s}
    chat: {type: slack, url: "%[1]s/chat/c4n4ry", level: critical}
    hang: {type: slack, url: "%[1]s/hang/c4n4ry", repeat: 1d}
    prom: {type: alertmanager, url: "%[1]s/prom"}
    post:
      type: mail
      server: %[2]s
      encryption: none
      user: shop
      password: %[5]s
      from: shop@example.org
      to: [ops@example.org]
`, b.URL, box.Addr, file, hookSecret, mailPassword)
}

// hastyRules judge fast, and find one dead letter too many.
const hastyRules = `
metrics: {listen: '127.0.0.1:0'}
monitor:
  every: 1s
  rules:
    failed: {critical: 0, clear: 1ms}
    new_failed: {enabled: false}
    alert_undelivered: {warning: 1ms, clear: 1ms}
`

func TestAlertsOfUpReachEachChannelAndTheirEnd(t *testing.T) {
	sh := launch(t, "")
	b, box := informed(sh.stage, hastyRules)
	sh.sail()
	sh.await("a sign of life", func() bool { return b.has("alive") })
	sh.dispatch("greet", `{"to":"a","fail":"boom"}`)
	mailed := func(words ...string) func() bool {
		return func() bool {
			var texts []string
			for _, m := range box.Mails() {
				texts = append(texts, m.Data)
			}
			return anyHas(texts, words)
		}
	}
	told := func(place string, words ...string) func() bool { return func() bool { return b.has(place, words...) } }
	const what = "1 dead letters, at most 0 are allowed"
	sh.await("the webhook", told("hook", `"event":"firing"`, `"rule":"failed"`, what, `"run":"shop failed list"`))
	sh.await("the chat", told("chat", "critical: failed", what))
	sh.await("Alertmanager", told("prom", `"alertname":"PosthornFailed"`, `"severity":"critical"`, what))
	sh.await("the mail", mailed("Subject: [shop] critical: failed", what, "run     shop failed list"))
	sh.await("that one fails, by another", told("hook", `"rule":"alert_undelivered"`, `"subject":"down"`, "answers 503"))
	sh.awaitMetric(`posthorn_condition{host="",level="critical",rule="failed",subject=""} 1`)
	sh.awaitMetric(`posthorn_alerts_waiting{channel="hang"} 2`) // it never answers, and nobody waits for it
	sh.dispatch("insert", `{"text":"a"}`)
	sh.await("a message that is handled", func() bool { return sh.rows() == 1 })
	if code := sh.run("status"); code != 0 || !strings.Contains(sh.out.String(), "alert_undelivered  down") {
		t.Errorf("status does not say so: code %d\n%s", code, sh.out.String())
	}
	if code := sh.run("alerts", "list"); code != 0 || !strings.Contains(sh.out.String(), "hook, down (failed ") {
		t.Errorf("alerts list: code %d\n%s", code, sh.out.String())
	}
	b.mend()
	sh.await("what was tried again", told("down", `"event":"firing"`, `"rule":"failed"`))
	if code := sh.run("failed", "remove", "--all", "--yes"); code != 0 {
		t.Fatal(sh.errs.String())
	}
	for _, place := range []string{"hook", "down"} {
		sh.await("the end at "+place, told(place, `"event":"resolved"`, `"rule":"failed"`))
	}
	sh.await("the end in the chat", told("chat", "resolved: failed"))
	sh.await("the end in the mail", mailed("resolved: failed"))
	sh.await("that it works again", told("hook", `"event":"resolved"`, `"rule":"alert_undelivered"`))
	shown := sh.scrape("")
	sh.anchor()
	if len(b.forged) > 0 {
		t.Errorf("signatures: %q", b.forged)
	}
	if all := shown + sh.errs.String() + sh.out.String(); strings.Contains(all, "c4n4ry") {
		t.Errorf("a secret is shown:\n%s", all)
	}
}

func TestMonitorFromCronTellsAlertsOnceAndTheirEnd(t *testing.T) {
	st := newStage(t, "")
	st.shop()
	b, box := informed(st, strings.Replace(hastyRules, "rules:", "rules:\n    workers: {enabled: false}", 1))
	b.mend()
	for _, args := range [][]string{{"dispatch", "greet", `{"to":"a","fail":"boom"}`}, {"consume", "--limit", "1"}} {
		if code := st.run(args...); code != 0 {
			t.Fatal(st.errs.String())
		}
	}
	log := rounds(t, st, 3) // of several hosts
	log += rounds(t, st, 1)
	const begins, ends = "\ncritical: failed\n", "\nresolved: failed\n"
	wants := func(begun, ended int) {
		t.Helper()
		mails := box.Mails()
		if mailsOf(t, mails, begins, log) != begun || mailsOf(t, mails, ends, log) != ended {
			t.Errorf("the mails are %+v\n%s", mails, log)
		}
	}
	wants(1, 0)
	if code := st.run("alerts", "silence", "failed", "--for", "1h", "--reason", "known"); code != 0 {
		t.Fatal(st.errs.String())
	}
	if code := st.run("failed", "remove", "--all", "--yes"); code != 0 {
		t.Fatal(st.errs.String())
	}
	log += rounds(t, st, 1)
	time.Sleep(10 * time.Millisecond)
	log += rounds(t, st, 1)
	wants(1, 1)
	if !b.has("alive") {
		t.Error("there is no sign of life when all is well")
	}
}

// mailsOf counts the mails with some words. Where the log says that an answer came too late for
// a round, as on a starved machine, the next one may have sent the same mail again: a reader's
// mailbox tells by its id. Nothing else excuses a copy.
func mailsOf(t *testing.T, mails []testserver.Mail, words, log string) (n int) {
	t.Helper()
	seen, copies, late := map[string]bool{}, 0, 0
	for _, m := range mails {
		_, rest, _ := strings.Cut(m.Data, "Message-ID: ")
		id, _, _ := strings.Cut(rest, "\n")
		switch has := strings.Count(m.Data, words); {
		case seen[id]:
			copies += has
		default:
			n += has
		}
		seen[id] = true
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "channel=post") && (strings.Contains(line, `"alert is left for later"`) ||
			strings.Contains(line, "delivered late") || strings.Contains(line, "no answer within")) {
			late++
		}
	}
	if copies > late {
		t.Errorf("%d copies were mailed, and %d answers were late:\n%s", copies, late, log)
	}
	return n
}

func TestAlertsTestSaysWhichChannelsWork(t *testing.T) {
	st := newStage(t, "")
	st.shop()
	b, box := informed(st, "")
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"alerts", "test", "hook", "chat", "prom", "post", "down"}, 4}, {[]string{"alerts", "test", "down"}, 1},
		{[]string{"alerts", "test", "post", "chat"}, 0}, {[]string{"alerts", "test", "pots"}, 3},
	} {
		if code := st.run(c.args...); code != c.code {
			t.Errorf("%v: code %d, want %d\n%s%s", c.args, code, c.code, st.out.String(), st.errs.String())
		}
	}
	if !b.has("hook", `"event":"test"`) || !b.has("chat", "test: test") || !b.has("prom", "PosthornTest") ||
		!strings.Contains(box.Mails()[0].Data, "Subject: [shop] test: test") {
		t.Errorf("told were %+v and %+v", b.got, box.Mails())
	}
	all := st.out.String() + st.errs.String()
	if strings.Contains(all, "c4n4ry") || !strings.Contains(all, "answers 503") {
		t.Errorf("it says\n%s", all)
	}
}

func TestAlertsFollowTheConfigurationAndMetricsSayThatTheyDoNot(t *testing.T) {
	sh := launch(t, "")
	b := newInbox(t)
	text, err := os.ReadFile(sh.config)
	if err != nil {
		t.Fatal(err)
	}
	sh.write(string(text) + hastyRules)
	sh.sail()
	sh.awaitText("worker starts", 1)
	sh.dispatch("greet", `{"to":"a","fail":"boom"}`)
	sh.awaitText("condition=failed", 1)
	sh.write(string(text) + strings.Replace(hastyRules, "127.0.0.1:0", "127.0.0.1:1", 1) +
		"alerts: {channels: {late: {type: slack, url: '" + b.URL + "/late'}}}\n")
	_ = sh.cmd.Process.Signal(syscall.SIGHUP)
	sh.await("what a new channel has to know", func() bool { return b.has("late", "critical: failed") })
	sh.awaitText("metrics are shown as before", 1)
	sh.anchor()
}
