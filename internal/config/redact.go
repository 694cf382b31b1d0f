package config

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/printable"
)

// minSecret is the shortest secret that is looked for by its letters: a shorter one is in
// every other word.
const minSecret = 4

// A Redactor hides secrets in log lines: those of the configuration wherever they stand,
// and in any text what stands where a password, a token or a key would.
type Redactor struct {
	known   *strings.Replacer
	guessed []*regexp.Regexp // the groups are kept
}

// NewRedactor makes one that knows the secrets of a configuration.
func NewRedactor(cfg *Config) *Redactor {
	r := &Redactor{guessed: []*regexp.Regexp{
		regexp.MustCompile(`(://[^\s/:@]*:)\S*(@)`),
		regexp.MustCompile(`(?i)\b((?:bearer|basic) )[a-z0-9._~+/=-]{4,}`),
		regexp.MustCompile(`(?i)((?:` + printable.SecretWords + `)["']?\s*[=:]\s*["']?)[^\s"'&;,]+`),
	}}
	var pairs []string
	tokens := []string{cfg.Metrics.Token.Reveal(), cfg.API.Token.Reveal()}
	for _, secret := range slices.Concat(cfg.Store.Secrets(), cfg.Alerts.Secrets(), tokens) {
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

// Attr is for slog.HandlerOptions.
func (r *Redactor) Attr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(r.Text(v))
	case error:
		a.Value = slog.StringValue(r.Text(v.Error()))
	}
	return a
}

// Text is a text without its secrets.
func (r *Redactor) Text(s string) string {
	s = r.known.Replace(s)
	for _, re := range r.guessed {
		s = re.ReplaceAllString(s, "$1***$2")
	}
	return s
}
