package printable_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/printable"
)

func TestTextShowsWhatIsHarmlessAndEscapesTheRest(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"Grüße 你好 👩‍👩‍👧":    "Grüße 你好 👩‍👩‍👧",
		"a\nb\tc\rd":        `a\nb\tc\rd`,
		"\x1b[31mred\x1b[m": `\x1b[31mred\x1b[m`,
		"\x1b]0;title\a":    `\x1b]0;title\x07`,
		"c1 \u009b31m":      `c1 \x9b31m`,
		"bidi \u202egpj":    `bidi \u{202e}gpj`,
		"iso \u2066x\u2069": `iso \u{2066}x\u{2069}`,
		"zero\u200bwidth":   `zero\u{200b}width`,
		"bad \xff\xc0":      `bad \xff\xc0`,
		"nul \x00 del \x7f": `nul \x00 del \x7f`,
		"line\u2028sep":     `line\u{2028}sep`,
		"tag \U000e0041":    `tag \u{e0041}`,
	} {
		if got := printable.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBlockKeepsLinesAndTabsOnly(t *testing.T) {
	if got, want := printable.Block("a\n\tb\r\x1b["), "a\n\tb\\r\\x1b["; got != want {
		t.Errorf("Block = %q, want %q", got, want)
	}
}

func TestJSONKeepsTheValue(t *testing.T) {
	in := "a\u202eb\u009b\U000e0041 é \x7f"
	doc, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	safe := printable.JSON(doc)
	if got := printable.Text(string(safe)); got != string(safe) {
		t.Errorf("JSON(%q) is not safe to show: %q", in, got)
	}
	var back string
	if err := json.Unmarshal(safe, &back); err != nil || back != in {
		t.Errorf("JSON(%q) decodes to %q, %v", in, back, err)
	}
}

func FuzzTextIsAlwaysOneHarmlessLine(f *testing.F) {
	for _, s := range []string{"", "abc", "\x1b[2J", "\u202e", "\xff", "\r\n", "\u009b", "👩‍👩‍👧", `\x1b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable.Text(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x1b\x7f") {
			t.Fatalf("Text(%q) = %q", s, got)
		}
		for _, r := range got {
			if !printable.Safe(r) {
				t.Fatalf("Text(%q) has %U", s, r)
			}
		}
		if again := printable.Text(got); again != got {
			t.Fatalf("Text is not stable: %q, then %q", got, again)
		}
	})
}
