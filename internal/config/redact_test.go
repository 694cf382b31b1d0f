package config_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/config"
)

// A secret of the configuration is in no log line, however the line came by it; and what is
// no secret stays.
func FuzzNoLogLineHasASecret(f *testing.F) {
	for _, s := range [][3]string{
		{"S3CR3T", "dial postgres://u:", "@h/d: refused"}, {"p@ss", "password=", "; x"}, {"tok3n", "Bearer ", ""},
		{"a b%", "", "\n"}, {"0000", "\x1b[2J", "://u:x@"}, {`"q"`, `{"password": "`, `"}`},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 4 || strings.Contains("***", secret) || strings.Contains(before+after, secret) {
			return // it cannot be told from the rest
		}
		cfg := &config.Config{}
		for _, l := range []*config.Listener{&cfg.API, &cfg.Metrics} {
			*cfg = config.Config{}
			l.Token = config.NewSecret(secret)
			if got := config.NewRedactor(cfg).Text(before + " " + secret + " " + after); strings.Contains(got, secret) {
				t.Fatalf("%q has the secret %q", got, secret)
			}
		}
		r := config.NewRedactor(cfg)
		if plain := "3 messages of queue mail"; r.Text(plain) != plain && !strings.Contains(plain, secret) {
			t.Fatalf("%q is %q", plain, r.Text(plain))
		}
	})
}

// Credentials are hidden in addresses that no configuration knows, too.
func FuzzNoLogLineHasThePasswordOfAnAddress(f *testing.F) {
	for _, s := range []string{"pw", "p@w", "p:w", "p/w", "%40", "?", "#", "пароль"} {
		f.Add(s)
	}
	r := config.NewRedactor(&config.Config{})
	f.Fuzz(func(t *testing.T, password string) {
		if strings.ContainsAny(password, " \t\n\v\f\r\u0085\u00a0") {
			return // it ends the word, and is written as %20 in an address
		}
		got := r.Text("connect to postgres://user:S3CR" + password + "3T@host/db: refused")
		if strings.Contains(got, "S3CR") || !strings.HasSuffix(got, "@host/db: refused") {
			t.Fatalf("%q", got)
		}
	})
}
