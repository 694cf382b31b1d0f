package cli

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/config"
)

// minSecret is the shortest secret that is looked for by its letters: a shorter one is in
// every other word.
const minSecret = 4

// A redactor hides secrets in log lines: those of the configuration wherever they stand,
// and in any text what stands where a password, a token or a key would.
type redactor struct {
	known   *strings.Replacer
	guessed []*regexp.Regexp // the groups are kept
}

func newRedactor(cfg *config.Config) *redactor {
	r := &redactor{guessed: []*regexp.Regexp{
		regexp.MustCompile(`(://[^\s/:@]*:)\S*(@)`),
		regexp.MustCompile(`(?i)\b((?:bearer|basic) )[a-z0-9._~+/=-]{4,}`),
		regexp.MustCompile(`(?i)((?:passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key)["']?\s*[=:]\s*["']?)[^\s"'&;,]+`),
	}}
	var pairs []string
	for _, secret := range slices.Concat(cfg.Store.Secrets(), cfg.Alerts.Secrets(), []string{cfg.Metrics.Token.Reveal()}) {
		if len(secret) >= minSecret {
			pairs = append(pairs, secret, "***")
		}
	}
	for _, t := range cfg.Transports {
		for _, secret := range t.DSN.Secrets() {
			if len(secret) >= minSecret {
				pairs = append(pairs, secret, "***")
			}
		}
	}
	r.known = strings.NewReplacer(pairs...)
	return r
}

// attr is for slog.HandlerOptions.
func (r *redactor) attr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(r.text(v))
	case error:
		a.Value = slog.StringValue(r.text(v.Error()))
	}
	return a
}

func (r *redactor) text(s string) string {
	s = r.known.Replace(s)
	for _, re := range r.guessed {
		s = re.ReplaceAllString(s, "$1***$2")
	}
	return s
}
