package alert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/internal/testserver"
	"github.com/posthorn/posthorn/internal/witness"
	"github.com/posthorn/posthorn/monitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Secrets that must be seen nowhere but by their receivers.
const (
	canaryPath     = "c4n4ry-path-" + witness.Secret
	canarySecret   = "c4n4ry-" + witness.Secret
	canaryPassword = "c4n4ry-password-" + witness.Secret
)

// hostile is what an attacker would like a reader to see, or a server to obey.
const hostile = "boom \x1b[2J\r\nBcc: all@example.org\r\n\r\n<!channel> <https://evil.example|click> & \u202egnp\x00"

// A receiver takes requests.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	status   int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP notes the request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.bodies = append(r.requests, req), append(r.bodies, string(body))
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte("you said " + req.URL.String()))
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// taken are the bodies so far.
func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

func (r *receiver) address() alert.Secret {
	return alert.Plain(r.URL + "/" + canaryPath + "?token=" + canarySecret)
}

// notice is one about a hostile subject.
func notice(event alert.Event) alert.Notice {
	c := condition("new_failed", hostile, monitor.Critical)
	c.Text, c.Host = hostile, hostile
	n := alert.Notice{ID: "1", Channel: "ops", Event: event, Condition: c, At: noon}
	if event == alert.Resolved {
		n.Ended, n.Was = noon.Add(time.Hour), monitor.Critical
	}
	return n
}

// clean wants a text without control characters and secrets.
func clean(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "c4n4ry") {
		t.Errorf("%s shows a secret: %s", what, text)
	}
	for _, r := range text {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("%s has the character %U: %q", what, r, text)
			return
		}
	}
}

func send(t *testing.T, s alert.Sender, notices ...alert.Notice) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Send(ctx, notices)
}

func TestAWebhookIsSignedAndVerified(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := alert.NewWebhook(r.address(), alert.Plain(canarySecret), "shop", nil)
	if err := send(t, s, notice(alert.Firing), notice(alert.Resolved)); err != nil {
		t.Fatal(err)
	}
	header, body := r.requests[0].Header.Get(alert.SignatureHeader), r.bodies[0]
	if err := alert.Verify(canarySecret, header, []byte(body), time.Minute); err != nil {
		t.Error(err)
	}
	clean(t, "the body", body)
	for name, err := range map[string]error{
		"another body":   alert.Verify(canarySecret, header, []byte(body+" "), time.Minute),
		"another secret": alert.Verify("another secret", header, []byte(body), time.Minute),
		"no secret":      alert.Verify("", header, []byte(body), time.Minute),
		"no signature":   alert.Verify(canarySecret, strings.Split(header, ",")[0], []byte(body), time.Minute),
		"no time":        alert.Verify(canarySecret, strings.Split(header, ",")[1], []byte(body), time.Minute),
		"too old": alert.Verify(canarySecret, "t=1000000000,"+strings.Split(header, ",")[1], []byte(body),
			time.Minute),
	} {
		if err == nil {
			t.Errorf("%s passes", name)
		}
	}
	var got struct {
		Kind    string
		Version int
		Program string
		Alerts  []struct{ ID, Event, Rule, Level, Text, Impact, Run, Since, Until string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if a := got.Alerts[0]; got.Kind != "Alerts" || got.Version != 1 || a.Event != "firing" || a.Rule != "new_failed" ||
		a.Run != "shop failed list" || a.Text != printable.Text(hostile) || got.Alerts[1].Until != "2026-11-28T13:00:00Z" {
		t.Errorf("it says %+v", got)
	}
}

func TestSlackMentionsNobodyAndMakesNoLink(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	if err := send(t, alert.NewSlack(r.address(), "shop", nil), notice(alert.Firing), notice(alert.Resolved)); err != nil {
		t.Fatal(err)
	}
	var got struct{ Text string }
	if err := json.Unmarshal([]byte(r.taken()[0]), &got); err != nil {
		t.Fatal(err)
	}
	clean(t, "the text", got.Text)
	for _, part := range []string{
		"&lt;!channel&gt;", "*critical: new_failed", "*resolved: new_failed", "run: shop failed list",
		"impact: late mail", "since: 2026-11-28T12:00:00Z", "until: 2026-11-28T13:00:00Z",
	} {
		if !strings.Contains(got.Text, part) {
			t.Errorf("%q is not in it:\n%s", part, got.Text)
		}
	}
	if strings.ContainsAny(got.Text, "<>") {
		t.Errorf("it can mention people:\n%s", got.Text)
	}
}

// mailer is a way to send mail to a mailbox that speaks TLS.
func mailer(t *testing.T) (*testserver.Mailbox, alert.Mail) {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // of its certificate
	t.Cleanup(lender.Close)
	box := testserver.StartMailbox(t, &tls.Config{Certificates: lender.TLS.Certificates}, "shop", canaryPassword)
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	return box, alert.Mail{
		Server: box.Addr, User: "shop", Password: alert.Plain(canaryPassword), From: "Shop <shop@example.org>",
		To: []string{"ops@example.org", "boss@example.org"}, Program: "shop", TLS: &tls.Config{RootCAs: roots},
	}
}

func TestAMailIsSentEncryptedAndItsHeadersCannotBeForged(t *testing.T) {
	t.Parallel()
	box, m := mailer(t)
	if err := send(t, m, notice(alert.Firing)); err != nil {
		t.Fatal(err)
	}
	got := box.Mails()[0]
	if !got.Encrypted || got.User != "shop" || got.From != "shop@example.org" || len(got.To) != 2 {
		t.Errorf("it came as %+v", got)
	}
	msg, err := mail.ReadMessage(strings.NewReader(got.Data))
	if err != nil {
		t.Fatal(err)
	}
	for name := range msg.Header {
		if name == "Bcc" || name == "Cc" {
			t.Errorf("the header %s was forged", name)
		}
	}
	body, err := io.ReadAll(msg.Body)
	if err != nil {
		t.Fatal(err)
	}
	clean(t, "the mail", strings.ReplaceAll(got.Data, "\r\n", "\n"))
	if s := msg.Header.Get("Subject"); !strings.Contains(s, "[shop] critical: new_failed") ||
		msg.Header.Get("Auto-Submitted") == "" || !strings.Contains(string(body), "run     shop failed list") {
		t.Errorf("subject %q, body:\n%s", s, body)
	}
}

func TestMailWithoutEncryptionOrWithTheWrongPasswordIsNotSent(t *testing.T) {
	t.Parallel()
	box, m := mailer(t)
	wrong := m
	wrong.Password = alert.Plain(canaryPassword + "!")
	plain := m
	plain.Server = testserver.StartMailbox(t, nil, "", "").Addr // offers no STARTTLS
	stranger := m
	stranger.TLS = nil
	for name, m := range map[string]alert.Mail{"wrong password": wrong, "no encryption": plain, "not trusted": stranger} {
		err := send(t, m, notice(alert.Firing))
		if err == nil {
			t.Errorf("%s: it was sent", name)
			continue
		}
		clean(t, name, err.Error())
	}
	box.Deny("451 " + canaryPassword)
	if err := send(t, m, notice(alert.Firing)); err == nil || len(box.Mails()) > 0 {
		t.Error("a mail that was refused counts as sent")
	} else {
		clean(t, "the refusal", err.Error())
	}
	remote := m
	remote.Server, remote.Encryption = "mail.example.org:25", alert.Plaintext
	if err := remote.Check(); err == nil {
		t.Error("a password may travel in plain text")
	}
	local := m
	local.Encryption, local.Server = alert.Plaintext, testserver.StartMailbox(t, nil, "shop", canaryPassword).Addr
	if err := send(t, local, notice(alert.Firing)); err != nil {
		t.Errorf("on this host: %v", err)
	}
}

func TestErrorsOfReceiversShowNoSecret(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	senders := map[string]func(alert.Secret) alert.Sender{
		"webhook": func(url alert.Secret) alert.Sender {
			return alert.NewWebhook(url, alert.Plain(canarySecret), "shop", nil)
		},
		"slack": func(url alert.Secret) alert.Sender { return alert.NewSlack(url, "shop", nil) },
		"alertmanager": func(url alert.Secret) alert.Sender {
			return alert.NewAlertmanager(url, "shop", time.Minute, nil)
		},
	}
	away := "http://c4n4ryuser:" + canaryPassword + "@127.0.0.1:1/" + canaryPath + "?token=" + canarySecret
	for name, make := range senders {
		for what, url := range map[string]string{
			"answers 500": r.URL + "/" + canaryPath, "is away": away, "is no address": "c4n4ry://" + canaryPath,
			"is no host": "http://[" + canaryPath, "has a bad port": "http://127.0.0.1:" + canaryPath + "/x",
			"is empty": "",
		} {
			r.answer(http.StatusInternalServerError)
			err := send(t, make(alert.Plain(url)), notice(alert.Firing))
			if err == nil {
				t.Errorf("%s that %s: it was sent", name, what)
				continue
			}
			clean(t, name+" that "+what, err.Error())
		}
	}
	r.answer(http.StatusFound)
	if err := send(t, senders["slack"](r.address()), notice(alert.Firing)); err == nil {
		t.Error("a redirect counts as taken")
	}
}
