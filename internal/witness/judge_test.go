package witness_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/tap"
	"github.com/posthorn/posthorn/internal/witness"
)

// judge judges evidence that is harmless but for one line of a kind.
func judge(t *testing.T, kind tap.Kind, line string) (witness.Verdict, error) {
	t.Helper()
	dir := t.TempDir()
	for _, k := range tap.Kinds() {
		text := "harmless: äöü, 👩\u200d🔧, the end\n"
		if k == kind {
			text += line + "\n"
		}
		if err := os.WriteFile(filepath.Join(dir, string(k)+"+test+1"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return witness.Judge(dir)
}

func TestTheJudgeFindsTheSecretHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	base := func(before string, e *base64.Encoding) string {
		return e.EncodeToString([]byte(before + witness.Secret + " and more"))
	}
	quoted := `{"a":[{"b":"` + strings.ReplaceAll(witness.Secret, "-", `\u002d`) + `"}]}`
	for name, c := range map[string]struct {
		kind tap.Kind
		line string
	}{
		"plain":          {tap.Line, "password=" + witness.Secret + " x"},
		"in a record":    {tap.Record, `{"msg":"` + witness.Secret + `"}`},
		"in metrics":     {tap.Metrics, `m{kind="` + witness.Secret + `"} 1`},
		"capitals":       {tap.Line, strings.ToUpper(witness.Secret)},
		"hexadecimal":    {tap.Line, hex.EncodeToString([]byte("x" + witness.Secret))},
		"HEXADECIMAL":    {tap.Line, strings.ToUpper(hex.EncodeToString([]byte(witness.Secret)))},
		"base64":         {tap.Line, base("", base64.StdEncoding)},
		"base64, 1 off":  {tap.Line, base("a", base64.StdEncoding)},
		"base64, 2 off":  {tap.Line, base("ab", base64.RawStdEncoding)},
		"base64 of URLs": {tap.Line, base("abc", base64.URLEncoding)},
		"JSON's escapes": {tap.Alert, quoted},
		"a JSON's name":  {tap.Trace, `{"` + witness.Secret + `":1}`},
	} {
		v, err := judge(t, c.kind, c.line)
		if err != nil || len(v.Findings) == 0 || v.Findings[0].Line != 2 || !strings.Contains(v.Findings[0].What, "secret") {
			t.Errorf("%s: %v, %v", name, v.Findings, err)
		}
	}
}

func TestTheJudgeFindsWhatATerminalObeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind tap.Kind
		line string
	}{
		"escape": {tap.Line, "\x1b[2J"}, "return": {tap.Line, "a\rb"}, "delete": {tap.Line, "a\x7f"},
		"C1": {tap.Line, "\u009b31m"}, "bidi": {tap.Line, "\u202egnp"}, "isolate": {tap.Metrics, "\u2066"},
		"mark": {tap.Line, "\u200f"}, "no width": {tap.Line, "a\u200bb"}, "byte order": {tap.Line, "\ufeff"},
		"tag": {tap.Line, "\U000e0041"}, "private": {tap.Line, "\ue000"}, "line separator": {tap.Line, "a\u2028b"},
		"filler": {tap.Line, "a\u3164b"}, "unassigned": {tap.Line, "a\U0003ffffb"},
		"paragraph": {tap.Line, "a\u2029b"}, "no UTF-8": {tap.Line, "\xff"}, "tab in metrics": {tap.Metrics, "a\tb"},
		"in JSON": {tap.Alert, `{"text":"a\u001b[2J"}`}, "in a span": {tap.Trace, `{"Name":"\u202e"}`},
	} {
		v, err := judge(t, c.kind, c.line)
		if err != nil || len(v.Findings) != 1 || !strings.Contains(v.Findings[0].What, "character") {
			t.Errorf("%s: %v, %v", name, v.Findings, err)
		}
	}
}

func TestTheJudgeLetsPassWhatIsHarmless(t *testing.T) {
	t.Parallel()
	for kind, line := range map[tap.Kind]string{
		tap.Line: "a\tb", tap.Record: "{\"msg\":\"\u202e\"}", // a record is its program's to escape
		tap.Alert: `{"text":"two\nlines"}`, tap.Metrics: "m 1", tap.Trace: `{"Name":"�"}`,
	} {
		v, err := judge(t, kind, line)
		if err != nil || len(v.Findings) > 0 || v.Pieces[kind] != 2 {
			t.Errorf("%s: %+v, %v", kind, v, err)
		}
	}
}

// A run that shows nothing proves nothing.
func TestTheJudgeWantsEvidenceOfEachKind(t *testing.T) {
	t.Parallel()
	for _, missing := range tap.Kinds() {
		dir := t.TempDir()
		for _, k := range tap.Kinds() {
			text := "harmless\n"
			if k == missing {
				text = "" // a file without a line is none
			}
			if err := os.WriteFile(filepath.Join(dir, string(k)+"+test+1"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := witness.Judge(dir)
		if !errors.Is(err, witness.ErrNothing) || !strings.Contains(err.Error(), string(missing)) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if _, err := witness.Judge(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there is judged")
	}
}
