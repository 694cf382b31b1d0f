package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/posthorn/posthorn/alert"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/monitor"
)

// alertsDocument is the name of the document that holds what was told to whom.
const alertsDocument = "alerts"

// flushWithin bounds the delivery of alerts by a command that ends after one round.
const flushWithin = 20 * time.Second

// courier makes what tells alerts by the configuration.
func (s *session) courier(cfg *config.Config) *alert.Courier {
	host, _ := os.Hostname() // as the monitor names it
	o := alert.Options{
		Memory: recollection{s, alertsDocument}, Who: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8]),
		Host: host, Log: s.logger(cfg), Figures: s.figures,
	}
	for _, c := range cfg.Alerts.Channels {
		o.Channels = append(o.Channels, alert.Channel{Settings: c.Settings(), Sender: s.sender(c)})
	}
	if h := cfg.Alerts.Heartbeat; h.Given() {
		o.Pulse = alert.NewPulse(secretOf(h), http.ProxyFromEnvironment)
	}
	return alert.NewCourier(o)
}

// sender makes the sender of a channel. It reads its secrets when it sends, so one that
// cannot be read is told like any other failure.
func (s *session) sender(c config.AlertChannel) alert.Sender {
	url := secretOf(c.URL)
	switch c.Type {
	case config.ChannelSlack:
		return alert.NewSlack(url, s.app.Name, http.ProxyFromEnvironment)
	case config.ChannelAlertmanager:
		return alert.NewAlertmanager(url, s.app.Name, c.Repeat, http.ProxyFromEnvironment)
	case config.ChannelMail:
		m := c.Mail()
		m.Password, m.Program = secretOf(c.Password), s.app.Name
		return m
	default:
		return alert.NewWebhook(url, secretOf(c.Secret), s.app.Name, http.ProxyFromEnvironment)
	}
}

// secretOf reads a secret from where it is.
func secretOf(s config.SecretSource) alert.Secret {
	if s.File == "" {
		return alert.Plain(s.Value.Reveal())
	}
	return func() (string, error) {
		text, err := readToken(s.File)
		if err == nil && text == "" {
			err = errors.New(s.File + " is empty")
		}
		return text, err
	}
}

// channelSettings are those of all channels.
func channelSettings(cfg *config.Config) []alert.Settings {
	out := make([]alert.Settings, len(cfg.Alerts.Channels))
	for i, c := range cfg.Alerts.Channels {
		out[i] = c.Settings()
	}
	return out
}

// undelivered asks which channels do not take alerts; nil when there are no channels.
func (s *session) undelivered(cfg *config.Config) func(context.Context) ([]monitor.Undelivered, error) {
	if len(cfg.Alerts.Channels) == 0 {
		return nil
	}
	return func(ctx context.Context) ([]monitor.Undelivered, error) {
		state, now, err := s.alertState(ctx)
		if err != nil {
			return nil, err
		}
		var out []monitor.Undelivered
		for _, f := range state.Failures(channelSettings(cfg), now) {
			out = append(out, monitor.Undelivered{
				Channel: f.Channel, For: max(now.Sub(f.Since), 0), Alerts: f.Notices, Why: f.Error,
			})
		}
		return out, nil
	}
}

// alertState is what is remembered of alerts, with the store's clock.
func (s *session) alertState(ctx context.Context) (state alert.State, now time.Time, err error) {
	st, err := s.existing(ctx)
	if err != nil {
		return state, now, err
	}
	if now, err = st.Now(ctx); err != nil {
		return state, now, err
	}
	body, _, err := recollection{s, alertsDocument}.Load(ctx)
	if err != nil {
		return state, now, err
	}
	state, err = alert.Decode(body)
	return state, now, err
}

// changeTries is how often a change of what is remembered begins anew because a monitor was
// faster.
const changeTries = 20

// changeAlerts changes what is remembered of alerts, for all hosts.
func (s *session) changeAlerts(ctx context.Context, by func(alert.State, time.Time) (alert.State, error)) error {
	st, err := s.existing(ctx)
	if err != nil {
		return err
	}
	memory := recollection{s, alertsDocument}
	for range changeTries {
		body, version, err := memory.Load(ctx)
		if err != nil {
			return err
		}
		state, err := alert.Decode(body)
		if err != nil {
			return err
		}
		now, err := st.Now(ctx)
		if err != nil {
			return err
		}
		if state, err = by(state, now); err != nil {
			return err
		}
		if body, err = state.Encode(); err == nil {
			err = memory.Save(ctx, body, version)
		}
		if !errors.Is(err, monitor.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("change alerts: %w, %d times in a row", monitor.ErrConflict, changeTries)
}
