package config

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
)

// A DSN says where a store or a transport is, and may hold a password. Every
// way to print it hides the password; only Reveal gives it away.
type DSN struct{ raw string }

// NewDSN makes a DSN of its text.
func NewDSN(raw string) DSN { return DSN{raw: raw} }

// Reveal returns the whole text, for opening a connection and nothing else.
func (d DSN) Reveal() string { return d.raw }

// Scheme is the part before the first colon; a word without one is its own
// scheme.
func (d DSN) Scheme() string {
	scheme, _, _ := strings.Cut(d.raw, ":")
	return scheme
}

// HasSecret reports whether printing hides something.
func (d DSN) HasSecret() bool { return d.String() != d.raw }

// String hides secrets: what stands before an @, and everything from the value
// of a parameter on whose name sounds secret. It would rather hide too much.
func (d DSN) String() string { return hideSecrets(d.raw) }

// GoString hides secrets, for %#v.
func (d DSN) GoString() string { return "config.DSN(" + d.String() + ")" }

// MarshalText hides secrets.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalJSON hides secrets.
func (d DSN) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// MarshalYAML hides secrets.
func (d DSN) MarshalYAML() (any, error) { return d.String(), nil }

// LogValue hides secrets.
func (d DSN) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Secrets lists what String hides, each part by itself and as it may be written in a URL
// and outside one, so that it can be found in other texts.
func (d DSN) Secrets() []string {
	var out []string
	rest := d.raw
	for i, kept := range strings.Split(d.String(), hidden) {
		before, after, ok := strings.Cut(rest, kept)
		if !ok {
			return out
		}
		if kept == "" && i > 0 { // at the end: all of the rest is hidden
			before, after = rest, ""
		}
		if before != "" {
			out = append(out, before)
			if plain, err := url.QueryUnescape(before); err == nil && plain != before {
				out = append(out, plain)
			}
		}
		rest = after
	}
	return out
}

// hidden stands for what is not shown.
const hidden = "***"

// hideSecrets works on a DSN, and on a line of text that has one in it.
func hideSecrets(s string) string {
	value := secretValue(s)
	at := strings.LastIndexByte(s, '@')
	switch {
	case at < 0 && value < 0:
		return s
	case at < 0:
		return s[:value] + hidden
	}
	start := credentialsStart(s[:at])
	if user, _, ok := strings.Cut(s[start:at], ":"); ok && plainName(user) {
		start += len(user) + 1
	}
	switch {
	case value < 0:
		return s[:start] + hidden + s[at:]
	case value < at: // whose the @ is cannot be told
		return s[:min(start, value)] + hidden
	default:
		return s[:start] + hidden + s[at:value] + hidden
	}
}

// secretValue is where the value of the first parameter begins whose name
// sounds secret, or -1.
func secretValue(s string) int {
	for i := range len(s) {
		if s[i] != '=' {
			continue
		}
		name := s[:i]
		name = name[strings.LastIndexAny(name, "?&; \t'\"")+1:]
		if plainName(name) && secretName(strings.ToLower(name)) {
			return i + 1
		}
	}
	return -1
}

// credentialsStart is where the user and the password of a DSN begin.
func credentialsStart(s string) int {
	if i := strings.Index(s, "://"); i >= 0 {
		return i + len("://")
	}
	if i := strings.LastIndexAny(s, " \t"); i >= 0 {
		return i + 1
	}
	return 0
}

func plainName(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return false
		}
	}
	return s != ""
}

func secretName(name string) bool {
	for _, word := range []string{"pass", "pwd", "secret", "token", "key", "auth", "cred"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
