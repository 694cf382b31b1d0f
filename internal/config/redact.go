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
	named   *regexp.Regexp   // its group is the name before a value
}

// complaints are what errors say after a colon. Where one of them follows a name like
// secret, it is the error and no value: nobody's password is "permission denied".
var complaints = regexp.MustCompile(`^(?:permission denied|no such file or directory|is a directory|not a directory|` +
	`file (?:exists|does not exist|already exists|already closed)|too many open files|operation not permitted|` +
	`connection (?:refused|reset by peer)|i/o timeout|context (?:canceled|deadline exceeded)|unexpected EOF|EOF|` +
	`invalid argument|input/output error|no space left on device|read-only file system)(?:$|[\s:;,.)"'])`)

// NewRedactor makes one that knows the secrets of a configuration.
func NewRedactor(cfg *Config) *Redactor {
	r := &Redactor{guessed: []*regexp.Regexp{
		regexp.MustCompile(`(://[^\s/:@]*:)\S*(@)`),
		regexp.MustCompile(`(?i)\b((?:bearer|basic) )[a-z0-9._~+/=-]{4,}`),
	}, named: regexp.MustCompile(`(?i)((?:` + printable.SecretWords + `)["']?\s*[=:]\s*["']?)[^\s"'&;,]+`)}
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
	return r.hideNamed(s)
}

// hideNamed hides what stands after the names of secrets, unless that is what an error
// says. What was hidden is looked through, too: it may be a name itself, whose value
// follows.
func (r *Redactor) hideNamed(s string) string {
	var b strings.Builder
	done, from := 0, 0
	for at := r.named.FindStringSubmatchIndex(s); at != nil; at = r.named.FindStringSubmatchIndex(s[from:]) {
		value, end := from+at[3], from+at[1]
		from = value
		if strings.HasSuffix(s[:value], ": ") && complaints.MatchString(s[value:]) {
			continue
		}
		if value >= done {
			b.WriteString(s[done:value] + "***")
		}
		done = max(done, end)
	}
	return b.String() + s[done:]
}
