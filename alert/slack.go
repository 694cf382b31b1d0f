package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A Slack posts to an incoming webhook of Slack, or of what understands the same: Mattermost,
// Rocket.Chat, Discord with /slack.
type Slack struct {
	web     web
	program string
}

// NewSlack makes the sender of an incoming webhook, whose address is a secret.
func NewSlack(address Secret, program string, proxy Proxy) *Slack {
	return &Slack{newWeb(address, proxy), programOf(program)}
}

// Send posts the notices as one message.
func (s *Slack) Send(ctx context.Context, notices []Notice) error {
	var b strings.Builder
	for i, n := range notices {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "*%s*\n", escapeSlack(n.Title()))
		for _, f := range n.facts(s.program) {
			fmt.Fprintf(&b, "%s: %s\n", f.name, escapeSlack(f.text))
		}
	}
	body, err := json.Marshal(map[string]any{"text": b.String(), "unfurl_links": false, "unfurl_media": false})
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	return s.web.do(ctx, request{method: http.MethodPost, body: body, header: map[string]string{
		"Content-Type": "application/json",
	}})
}

// escapeSlack takes the meaning from the three characters that have one in Slack's texts, so
// that nobody is mentioned and no link is made (Slack API, "Formatting text for app
// surfaces", Escaping text).
func escapeSlack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
