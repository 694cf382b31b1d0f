package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

const channels = `alerts:
  heartbeat: {url: "https://hc.example.org/c4n4ry"}
  channels:
    ops: {url: "${OPS}", secret: c4n4ry-c4n4ry-c4n4ry, level: critical, repeat: 1h, resolved: false}
    prom: {type: alertmanager, url: http://127.0.0.1:9093}
    post:
      type: mail
      server: mail.example.org:587
      user: shop
      password: c4n4ry
      from: shop@example.org
      to: [a@example.org, Boss <b@example.org>]
`

func TestChannelsAreRead(t *testing.T) {
	c := parse(t, channels, "OPS", "https://ops.example.org/c4n4ry").Alerts
	if len(c.Channels) != 3 || !c.Heartbeat.Given() {
		t.Fatalf("alerts are %+v", c)
	}
	ops, prom, post := c.Channels[0], c.Channels[1], c.Channels[2]
	if ops.Type != config.ChannelWebhook || ops.Least != monitor.Critical || ops.Repeat != time.Hour || ops.Resolved ||
		ops.URL.Value.Reveal() != "https://ops.example.org/c4n4ry" || !ops.Settings().Once {
		t.Errorf("ops is %+v", ops)
	}
	if prom.Repeat != time.Minute || prom.Least != monitor.Warning || !prom.Resolved || post.Repeat != 4*time.Hour {
		t.Errorf("prom is %+v, post %+v", prom, post)
	}
	if m := post.Mail(); m.Check() != nil || m.Encryption != "starttls" || len(m.To) != 2 {
		t.Errorf("the mail is %+v", m)
	}
	if none := parse(t, "").Alerts; len(none.Channels) > 0 || none.Heartbeat.Given() {
		t.Errorf("by default there is %+v", none)
	}
	for _, s := range parse(t, channels, "OPS", "https://ops.example.org/c4n4ry").Settings() {
		if strings.Contains(s.Value, "c4n4ry") {
			t.Errorf("%s is shown: %s", s.Key, s.Value)
		}
	}
}

func TestAChannelThatCannotWorkIsRefusedInItsLineAndNoSecretIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"ops: {type: pigeon}":                                                             "is none of webhook, slack",
		"ops: {url: 'https://a.example.org/c4n4ry'}":                                      "needs secret",
		"ops: {url: 'https://a.example.org/c4n4ry', secret: c4n4ry}":                      "less than 16",
		"ops: {url: 'c4n4ry:c4n4ry', secret_file: /s}":                                    "not an address",
		"ops: {secret: c4n4ry-c4n4ry-c4n4ry}":                                             "needs url",
		"ops: {type: slack, url_file: /u, from: a@b.example}":                             "has no from",
		"ops: {type: slack, url: 'https://a.example.org/c4n4ry', url_file: /u}":           "is set, too",
		"ops: {type: mail, server: a:25, from: a@b.example}":                              "nobody is to get it",
		"ops: {type: mail, server: a, from: a@b.example, to: c@d.example}":                "is not like",
		"ops: {type: mail, server: 'a:0', from: a@b.example, to: c@d.example}":            "is not a port",
		"ops: {type: mail, server: 'a:25', from: 'a@b\\nBcc: c', to: c@d.example}":        "is not an address",
		"ops: {type: mail, server: 'a:25', from: a@b.example, to: c}":                     "is not an address",
		"ops: {type: mail, server: 'a:25', from: a@b.example, to: c@d.example, user: u}":  "has no password",
		"ops: {type: mail, server: 'a:25', from: a@b.example, to: c@d, encryption: weak}": "is none of starttls",
		"ops: {type: mail, server: 'a:25', from: a@b.example, to: c@d.example, encryption: none, user: u, " +
			"password: c4n4ry}": "in plain text",
		"ops: {type: slack, url_file: /u, level: fatal}":                            "is none of warning",
		"ops: {type: slack, url_file: /u, repeat: 0s}":                              "below",
		"ops: {type: slack, urll: 'https://a.example.org/c4n4ry'}":                  "has no key `urll`",
		"'a b': {type: slack, url_file: /u}":                                        "a name has letters",
		"ops: {type: webhook, secret: c4n4ry-c4n4ry-c4n4ry, url: [c4n4ry, c4n4ry]}": "has a list",
	} {
		_, err := config.Parse(config.Source{File: "f", Lookup: env()}, []byte("alerts:\n  channels:\n    "+text))
		var faults *config.Error
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
			continue
		}
		for _, p := range faults.Problems {
			if !strings.HasPrefix(p.Where, "f:3:") {
				t.Errorf("%s: it is said to be at %s", text, p.Where)
			}
			if shown := p.Title + p.What + p.Excerpt + p.Try; strings.Contains(shown, "c4n4ry") {
				t.Errorf("%s shows a secret:\n%s", text, shown)
			}
		}
	}
}
