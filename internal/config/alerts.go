package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/monitor"
)

// Alerts say how the monitor's conditions are told.
type Alerts struct {
	Channels  []AlertChannel // in the file's order; none: nothing is told
	Heartbeat SecretSource   // the address of a dead man's switch; none if it has neither
}

// A SecretSource is a secret, or the file that holds it.
type SecretSource struct {
	Value Secret
	File  string
}

// Given reports whether there is one.
func (s SecretSource) Given() bool { return s.Value.Reveal() != "" || s.File != "" }

// The kinds of channels.
const (
	ChannelWebhook      = "webhook"
	ChannelSlack        = "slack"
	ChannelAlertmanager = "alertmanager"
	ChannelMail         = "mail"
)

// An AlertChannel is a way to people.
type AlertChannel struct {
	Name, Type string
	Least      monitor.Level
	Repeat     time.Duration
	Resolved   bool // ends are told, too

	URL, Secret SecretSource

	Server, Encryption, User string
	Password                 SecretSource
	From                     string
	To                       []string
}

// Settings are what decides about the channel's notices.
func (c AlertChannel) Settings() alert.Settings {
	return alert.Settings{Name: c.Name, Least: c.Least, Repeat: c.Repeat, Once: !c.Resolved}
}

// Mail is how a channel of mail sends; the password is not filled in.
func (c AlertChannel) Mail() alert.Mail {
	return alert.Mail{
		Server: c.Server, Encryption: alert.Encryption(c.Encryption), User: c.User, From: c.From, To: c.To,
	}
}

const channelPrefix = "alerts.channels"

// alertFields are the settings of alerts.
func alertFields() []Field {
	fields := []Field{
		{Pattern: "alerts.heartbeat.url", Kind: KindSecret,
			Doc: "An address that is asked for at each healthy round of the monitor: a dead man's switch waits behind it."},
		{Pattern: "alerts.heartbeat.url_file", Kind: KindText, Doc: "A file that holds this address, instead."},
	}
	for _, f := range []Field{
		{Pattern: "type", Kind: KindChoice, Default: ChannelWebhook,
			Choices: []string{ChannelWebhook, ChannelSlack, ChannelAlertmanager, ChannelMail},
			Doc:     "How the channel carries alerts."},
		{Pattern: "level", Kind: KindChoice, Default: "warning", Choices: []string{"warning", "unknown", "critical"},
			Doc: "The least level that the channel is told."},
		{Pattern: "repeat", Kind: KindDuration, Default: "4h; 1m for alertmanager", Min: 1e9,
			Doc: "After how long an alert that stands is told again."},
		{Pattern: "resolved", Kind: KindSwitch, Default: "true", Doc: "Whether the end of an alert is told, too."},
		{Pattern: "url", Kind: KindSecret,
			Doc: "The address of a webhook, of an incoming webhook of Slack, or of the root of an Alertmanager."},
		{Pattern: "url_file", Kind: KindText, Doc: "A file that holds the address, instead of url."},
		{Pattern: "secret", Kind: KindSecret, Doc: "What a webhook's requests are signed with, by HMAC-SHA256."},
		{Pattern: "secret_file", Kind: KindText, Doc: "A file that holds the secret, instead of secret."},
		{Pattern: "server", Kind: KindText, Doc: "The host:port of the server that takes mail."},
		{Pattern: "encryption", Kind: KindChoice, Default: string(alert.StartTLS),
			Choices: []string{string(alert.StartTLS), string(alert.Implicit), string(alert.Plaintext)},
			Doc:     "How the connection to the mail server is protected."},
		{Pattern: "user", Kind: KindText, Doc: "The user of the mail server; empty means without authentication."},
		{Pattern: "password", Kind: KindSecret, Doc: "The password of this user."},
		{Pattern: "password_file", Kind: KindText, Doc: "A file that holds the password, instead of password."},
		{Pattern: "from", Kind: KindText, Doc: "The sender of the mail."},
		{Pattern: "to", Kind: KindNames, Default: "none", Doc: "Who gets the mail."},
	} {
		f.Pattern = channelPrefix + ".*." + f.Pattern
		fields = append(fields, f)
	}
	return fields
}

func (d *decoder) alerts() Alerts {
	a := Alerts{Heartbeat: d.secretSource("alerts.heartbeat.url")}
	for _, name := range d.names[channelPrefix] {
		a.Channels = append(a.Channels, d.channel(name))
	}
	return a
}

// secretSource reads a secret and its file.
func (d *decoder) secretSource(key string) SecretSource {
	return SecretSource{Value: pick(d, key, Secret{}), File: pick(d, key+"_file", "")}
}

func (d *decoder) channel(name string) AlertChannel {
	key := channelPrefix + "." + name + "."
	c := AlertChannel{
		Name: name, Type: pick(d, key+"type", ""), Resolved: pick(d, key+"resolved", true),
		URL: d.secretSource(key + "url"), Secret: d.secretSource(key + "secret"),
		Server: pick(d, key+"server", ""), Encryption: pick(d, key+"encryption", ""), User: pick(d, key+"user", ""),
		Password: d.secretSource(key + "password"), From: pick(d, key+"from", ""), To: pick(d, key+"to", []string(nil)),
	}
	_ = c.Least.UnmarshalText([]byte(pick(d, key+"level", "warning"))) // one of the choices
	c.Repeat = alert.DefaultRepeat
	if c.Type == ChannelAlertmanager {
		c.Repeat = alert.AlertmanagerRepeat
	}
	c.Repeat = pick(d, key+"repeat", c.Repeat)
	return c
}

// checkAlerts finds what is wrong between the settings of alerts.
func (d *decoder) checkAlerts(a Alerts) {
	d.checkSource("alerts.heartbeat.url", a.Heartbeat)
	d.checkAddress("alerts.heartbeat.url", a.Heartbeat)
	for _, c := range a.Channels {
		d.checkChannel(c)
	}
}

// checkSource refuses a secret that is there twice.
func (d *decoder) checkSource(key string, s SecretSource) {
	if s.Value.Reveal() != "" && s.File != "" {
		of := d.byKey[key+"_file"]
		d.bad(of, of.at, fmt.Errorf("%s is set, too; give one of them", key))
	}
}

// checkAddress refuses an address that is none, as far as it is known.
func (d *decoder) checkAddress(key string, s SecretSource) {
	if text := s.Value.Reveal(); text != "" {
		if err := alert.CheckURL(text); err != nil {
			d.bad(d.byKey[key], d.byKey[key].at, err)
		}
	}
}

// ownKeys are the settings that only some kinds of channels have.
func ownKeys(kind string) []string {
	switch kind {
	case ChannelWebhook:
		return []string{"url", "url_file", "secret", "secret_file"}
	case ChannelMail:
		return []string{"server", "encryption", "user", "password", "password_file", "from", "to"}
	default:
		return []string{"url", "url_file"}
	}
}

func (d *decoder) checkChannel(c AlertChannel) {
	key := channelPrefix + "." + c.Name
	if err := driver.CheckQueue(c.Name); err != nil {
		d.bad(d.byKey[key+".type"], d.keyAt[key], fmt.Errorf("%w; a name has letters, digits, '_', '-' and '.'", err))
		return
	}
	if c.Type == "" { // it is none of the choices, which has been told
		return
	}
	for _, name := range append(ownKeys(ChannelWebhook), ownKeys(ChannelMail)...) {
		s := d.byKey[key+"."+name]
		if !s.IsDefault() && !slices.Contains(ownKeys(c.Type), name) {
			d.bad(s, s.at, fmt.Errorf("a channel of type %s has no %s, only %s", c.Type, name,
				strings.Join(ownKeys(c.Type), ", ")))
		}
	}
	for _, s := range []struct {
		name string
		SecretSource
	}{{"url", c.URL}, {"secret", c.Secret}, {"password", c.Password}} {
		d.checkSource(key+"."+s.name, s.SecretSource)
	}
	d.checkAddress(key+".url", c.URL)
	if err := c.lacks(); err != nil {
		d.bad(d.byKey[key+".type"], d.keyAt[key], err)
	}
}

// lacks says what the channel cannot do without.
func (c AlertChannel) lacks() error {
	secret := c.Secret.Value.Reveal()
	switch {
	case c.Type == ChannelMail && c.User != "" && !c.Password.Given():
		return errors.New("the user has no password: give password or password_file")
	case c.Type == ChannelMail:
		return c.Mail().Check()
	case !c.URL.Given():
		return fmt.Errorf("a channel of type %s needs url or url_file", c.Type)
	case c.Type == ChannelWebhook && !c.Secret.Given():
		return errors.New("a webhook needs secret or secret_file, to sign with: openssl rand -hex 32")
	case c.Type == ChannelWebhook && secret != "" && len(secret) < alert.MinSecret:
		return fmt.Errorf("the secret has less than %d letters: openssl rand -hex 32", alert.MinSecret)
	}
	return nil
}

// Secrets lists the secrets of the configuration's alerts that are not in files.
func (a Alerts) Secrets() []string {
	out := []string{a.Heartbeat.Value.Reveal()}
	for _, c := range a.Channels {
		out = append(out, c.URL.Value.Reveal(), c.Secret.Value.Reveal(), c.Password.Value.Reveal())
	}
	return out
}
