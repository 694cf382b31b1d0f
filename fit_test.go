package posthorn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
)

// quietly is a handler's context whose log goes nowhere.
func quietly() context.Context {
	return posthorn.WithDelivery(context.Background(), driver.Delivery{}, slog.New(slog.DiscardHandler))
}

func TestFitCutsAtCharactersAsAReaderSeesThem(t *testing.T) {
	const (
		family  = "👨‍👩‍👧‍👦"       // seven code points
		flag    = "🇨🇭"            // two
		accents = "e\u0301\u0302" // three
		thumb   = "👍🏽"            // two
	)
	for name, c := range map[string]struct {
		in   string
		max  int
		want string
	}{
		"short":                 {"hello", 10, "hello"},
		"exact":                 {"hello", 5, "hello"},
		"one too long":          {"hello!", 5, "hello"},
		"trimmed, fits":         {" \t hello \n", 5, "hello"},
		"trimmed after the cut": {"hello world", 6, "hello"},
		"zero":                  {"hello", 0, ""},
		"negative":              {"hello", -1, ""},
		"empty":                 {"", 5, ""},
		"only white space":      {" \u2003\n", 5, ""},
		"runes, not bytes":      {"äöüß€", 5, "äöüß€"},
		"family fits":           {family, 7, family},
		"family is not torn":    {"a" + family, 7, "a"},
		"family alone too long": {family, 6, ""},
		"flag is not torn":      {flag + flag, 3, flag},
		"accents stay":          {"a" + accents + "b", 4, "a" + accents},
		"accents go together":   {"a" + accents, 3, "a"},
		"skin tone":             {thumb + thumb, 3, thumb},
		"right to left":         {"שלום עולם", 5, "שלום"},
		"arabic with marks":     {"مُحَمَّد", 4, "مُحَ"},
		"crlf is one":           {"a\r\nb", 2, "a"},
		"hangul":                {"\u1112\u1161\u11ab\u1100", 3, "\u1112\u1161\u11ab"},
		"invalid UTF-8":         {"a\xff\xfeb", 10, "a\uFFFDb"},
		"cut off in the middle": {"a\xe2\x82", 10, "a\uFFFD"},
		"NUL":                   {"a\x00b", 10, "a\uFFFDb"},
		"invalid UTF-8, cut":    {"\xffabc", 2, "\uFFFDa"},
	} {
		if got := posthorn.Fit(quietly(), "title", c.in, c.max); got != c.want {
			t.Errorf("%s: Fit(%q, %d) = %q, want %q", name, c.in, c.max, got, c.want)
		}
	}
}

func TestFitWarnsWithTheLengthsAndTheMessageWhenItCutAndOnlyThen(t *testing.T) {
	var out bytes.Buffer
	ctx := posthorn.WithDelivery(t.Context(), driver.Delivery{Envelope: driver.Envelope{ID: "m-1", Kind: "mail"}},
		slog.New(slog.NewJSONHandler(&out, nil)))
	posthorn.Fit(ctx, "subject", "  fits  ", 4)
	if out.Len() > 0 {
		t.Errorf("it warned of nothing: %s", out.String())
	}
	posthorn.Fit(ctx, "subject", "secret text", 7)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"level": "WARN", "field": "subject", "length": 11.0, "new_length": 6.0, "max": 7.0,
		"message_id": "m-1", "kind": "mail",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("the text itself is in the log")
	}
}

// checkFit checks what holds for every text.
func checkFit(t interface{ Fatalf(string, ...any) }, s string, limit int) {
	got := posthorn.Fit(quietly(), "f", s, limit)
	whole := strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	switch {
	case utf8.RuneCountInString(got) > max(limit, 0):
		t.Fatalf("Fit(%q, %d) = %q is too long", s, limit, got)
	case !utf8.ValidString(got) || strings.ContainsRune(got, 0):
		t.Fatalf("Fit(%q, %d) = %q is not storable", s, limit, got)
	case !strings.HasPrefix(strings.TrimSpace(whole), got):
		t.Fatalf("Fit(%q, %d) = %q is no prefix", s, limit, got)
	case got != posthorn.Fit(quietly(), "f", got, limit):
		t.Fatalf("Fit(%q, %d) = %q does not fit itself", s, limit, got)
	}
}

func TestFitHoldsForEveryText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		text := rapid.OneOf(rapid.String(), bytes)
		checkFit(t, text.Draw(t, "text"), rapid.IntRange(-1, 50).Draw(t, "max"))
	})
}

func FuzzFit(f *testing.F) {
	f.Add("hello", 3)
	f.Add("👨‍👩‍👧‍👦 \x00\xff\r\n🇨🇭", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) { checkFit(t, s, limit) })
}
