package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/printable"
	"github.com/posthorn/posthorn/monitor"
)

// AlertmanagerRepeat is how often a standing alert is posted to Alertmanager again, which
// takes an alert for resolved when its end has come and nobody has put it off.
const AlertmanagerRepeat = time.Minute

// endAfter is for how many repeats Alertmanager believes that an alert lasts.
const endAfter = 4

// An Alertmanager posts to the API of Prometheus Alertmanager, version 2. It does the telling:
// its own routes, groups, silences and repeats come after ours.
type Alertmanager struct {
	web     web
	program string
	repeat  time.Duration
}

// NewAlertmanager makes the sender of an Alertmanager; the address is that of its root.
// repeat is that of the channel's Settings.
func NewAlertmanager(address Secret, program string, repeat time.Duration, proxy Proxy) *Alertmanager {
	if repeat == 0 {
		repeat = DefaultRepeat
	}
	return &Alertmanager{newWeb(address, proxy), programOf(program), repeat}
}

// posted is an alert as the API takes it (Alertmanager, api/v2/openapi.yaml, postableAlert).
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Send posts the notices. The level is a label, so an alert of another level is another alert
// to Alertmanager: the one that stood before is ended.
func (a *Alertmanager) Send(ctx context.Context, notices []Notice) error {
	var out []posted
	for _, n := range notices {
		level := n.Condition.Level
		if n.Event == Resolved && n.Was != monitor.OK {
			level = n.Was
		}
		out = append(out, a.post(n, level))
		if n.Was != monitor.OK && n.Was != level {
			n.Ended = n.At
			out = append(out, a.post(n, n.Was))
		}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	return a.web.do(ctx, request{method: http.MethodPost, path: "api/v2/alerts", body: body, header: map[string]string{
		"Content-Type": "application/json",
	}})
}

// post is a notice in the words of Alertmanager.
func (a *Alertmanager) post(n Notice, level monitor.Level) posted {
	c := n.Condition
	p := posted{
		StartsAt: c.Since.UTC(), EndsAt: n.At.Add(endAfter * a.repeat).UTC(), Annotations: map[string]string{},
		Labels: map[string]string{"alertname": alertName(c.Name), "severity": level.String(), "program": a.program},
	}
	if !n.Ended.IsZero() {
		p.EndsAt = n.Ended.UTC()
	}
	if n.Event == Test {
		p.EndsAt = n.At.Add(time.Minute).UTC()
	}
	for name, value := range map[string]string{"subject": c.Subject, "host": c.Host} {
		if value != "" {
			p.Labels[name] = printable.Text(value)
		}
	}
	for name, value := range map[string]string{"summary": c.Text, "impact": c.Impact, "run": n.command(a.program)} {
		if value != "" {
			p.Annotations[name] = printable.Text(value)
		}
	}
	return p
}

// alertName is a rule's name as alerts of Prometheus are written: PosthornNewFailed.
func alertName(rule string) string {
	var b strings.Builder
	b.WriteString("Posthorn")
	for _, word := range strings.Split(rule, "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return printable.Text(b.String())
}
