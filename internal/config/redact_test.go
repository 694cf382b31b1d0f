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

// What an error says after a name like secret is no value; values are hidden in all the ways in
// which they are written.
func TestWordsOfErrorsAreNoSecrets(t *testing.T) {
	r := config.NewRedactor(&config.Config{})
	for text, want := range map[string]string{
		"read secret: permission denied":                     "read secret: permission denied",
		"open token: no such file or directory":              "open token: no such file or directory",
		"fetch token: connection refused; password: hunter2": "fetch token: connection refused; password: ***",
		"get api_key: context deadline exceeded (3 tries)":   "get api_key: context deadline exceeded (3 tries)",
		"read token: EOF":                                    "read token: EOF",
		"password: hunter2":                                  "password: ***",
		"token=abc":                                          "token=***",
		`{"secret": "permission denied"}`:                    `{"secret": "*** denied"}`,
		"password: permission":                               "password: ***",
		"password: permission deniedX":                       "password: *** deniedX",
		"secret: password: hunter2":                          "secret: *** ***",
		"secret=token=abc; x":                                "secret=***; x",
		"token=EOF":                                          "token=***",
		"token: EOFabc":                                      "token: ***",
		"secret: s3cret: permission denied":                  "secret: *** permission denied",
		"pwd:EOF":                                            "pwd:***",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
