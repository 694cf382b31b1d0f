package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/printable"
)

// The headers of a webhook's request.
const (
	// SignatureHeader holds t=SECONDS,v1=HEX: when it was signed, in seconds since 1970, and
	// the HMAC-SHA256 of the seconds, a dot and the body, by the secret.
	SignatureHeader = "Posthorn-Signature"
	// DeliveryHeader is the same for each try to deliver the same notices.
	DeliveryHeader = "Posthorn-Delivery"
)

// MinSecret is the fewest letters of a secret that signs.
const MinSecret = 16

// ErrSignature: a request was not signed by who knows the secret, or too long ago.
var ErrSignature = errors.New("not a valid signature")

// Verify checks the SignatureHeader of a request with its whole body. A receiver that has
// two secrets, while they change, calls it with each. within is how old or how far ahead
// the signature may be; 5 minutes are usual. The error is ErrSignature.
func Verify(secret, header string, body []byte, within time.Duration) error {
	stamp, signatures := "", []string{}
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			stamp = value
		case "v1":
			signatures = append(signatures, value)
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || secret == "" {
		return fmt.Errorf("%w: %s is not like t=1700000000,v1=5257…", ErrSignature, SignatureHeader)
	}
	if age := time.Since(time.Unix(seconds, 0)); age.Abs() > within {
		return fmt.Errorf("%w: it is %s old", ErrSignature, age.Round(time.Second))
	}
	want := mac(secret, stamp, body)
	for _, s := range signatures {
		if got, err := hex.DecodeString(s); err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%w: it was made with another secret, or of another body", ErrSignature)
}

// mac is what a signature is made of.
func mac(secret, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(stamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// signature is the header for a body that is sent now.
func signature(secret string, body []byte) string {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac(secret, stamp, body))
}

// A Webhook posts signed JSON.
type Webhook struct {
	web     web
	secret  Secret
	program string
}

// NewWebhook makes the sender of a webhook. program is the name before commands to run.
func NewWebhook(address, secret Secret, program string, proxy Proxy) *Webhook {
	return &Webhook{newWeb(address, proxy), secret, programOf(program)}
}

// A letter is the body of a webhook's request.
type letter struct {
	Kind    string    `json:"kind"`
	Version int       `json:"version"`
	Program string    `json:"program"`
	Channel string    `json:"channel"`
	Alerts  []message `json:"alerts"`
}

// A message is a notice in a letter.
type message struct {
	ID        string     `json:"id"` // of the alert: the same from its beginning to its end
	Event     Event      `json:"event"`
	Rule      string     `json:"rule"`
	Subject   string     `json:"subject,omitempty"`
	Host      string     `json:"host,omitempty"`
	Level     string     `json:"level"`
	Since     time.Time  `json:"since"`
	Until     *time.Time `json:"until,omitempty"`
	Text      string     `json:"text"`
	Impact    string     `json:"impact,omitempty"`
	Run       string     `json:"run,omitempty"`
	Value     float64    `json:"value"`
	Threshold float64    `json:"threshold"`
}

// letterVersion is the version of the JSON.
const letterVersion = 1

// Send posts the notices in one request.
func (w *Webhook) Send(ctx context.Context, notices []Notice) error {
	secret, err := w.secret.reveal()
	if err == nil && len(secret) < MinSecret {
		err = fmt.Errorf("the secret has less than %d letters", MinSecret)
	}
	if err != nil {
		return err
	}
	l := letter{Kind: "Alerts", Version: letterVersion, Program: w.program}
	for _, n := range notices {
		l.Channel = n.Channel
		l.Alerts = append(l.Alerts, messageOf(n, w.program))
	}
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	body = printable.JSON(body)
	return w.web.do(ctx, request{method: http.MethodPost, body: body, header: map[string]string{
		"Content-Type": "application/json", SignatureHeader: signature(secret, body), DeliveryHeader: delivery(notices),
	}})
}

func messageOf(n Notice, program string) message {
	c := n.Condition
	m := message{
		ID: n.ID, Event: n.Event, Rule: c.Name, Level: c.Level.String(),
		Subject: printable.Text(c.Subject), Host: printable.Text(c.Host), Text: printable.Text(c.Text),
		Impact: printable.Text(c.Impact), Run: n.command(program),
		Since: c.Since.UTC(), Value: c.Value, Threshold: c.Threshold,
	}
	if !n.Ended.IsZero() {
		until := n.Ended.UTC()
		m.Until = &until
	}
	return m
}

// delivery names what is delivered.
func delivery(notices []Notice) string {
	h := sha256.New()
	for _, n := range notices {
		_, _ = fmt.Fprintf(h, "%s %s %s %s\n", n.ID, n.Event, n.Condition.Level, n.occasion())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// occasion tells one repeat of an alert from the next.
func (n Notice) occasion() string {
	if n.Event != Again {
		return ""
	}
	return moment(n.At)
}
