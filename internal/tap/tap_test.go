package tap_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/tap"
)

// kept are the pieces of each kind in a directory.
func kept(t *testing.T, dir string) map[tap.Kind]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[tap.Kind]string{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(f.Name(), "+")
		out[tap.Kind(kind)] += string(text)
	}
	return out
}

func TestWhatIsShownIsKeptInItsOwnBuildAlone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(tap.Env, dir)
	var out bytes.Buffer
	own := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	log := tap.Logger(tap.Logger(own)).With("who", "ann").WithGroup("g")
	log.Debug("is kept", "n", 1)
	log.Warn("is kept and shown", "n", 2)
	tap.Logger(nil).Info("nobody listens")
	w := tap.Writer(tap.Line, tap.Writer(tap.Line, &out))
	if n, err := io.WriteString(w, "a line\n"); n != 7 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	tap.Show(tap.Alert, []byte("an alert"))
	tap.Show(tap.Alert, nil)
	if got := out.String(); !strings.Contains(got, "is kept and shown") || !strings.Contains(got, "g.n=2") ||
		strings.Contains(got, "msg=\"is kept\"") || !strings.HasSuffix(got, "a line\n") {
		t.Errorf("shown is %q", got)
	}
	got := kept(t, dir)
	if !tap.On {
		if len(got) > 0 || tap.Logger(own) != own {
			t.Errorf("a normal build keeps %q, or changes a logger", got)
		}
		return
	}
	if got[tap.Line] != "a line\n" || got[tap.Alert] != "an alert\n" || len(got) != 3 {
		t.Errorf("kept is %q", got)
	}
	records := got[tap.Record]
	for _, want := range []string{`"msg":"is kept","who":"ann","g":{"n":1}`, `"g":{"n":2}`, "nobody listens"} {
		if strings.Count(records, want) != 1 {
			t.Errorf("%s is not kept once: %s", want, records)
		}
	}
}

func TestNothingIsKeptWhereNobodySaysWhere(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(tap.Env, "")
	tap.Show(tap.Alert, []byte("an alert"))
	if got := kept(t, dir); len(got) > 0 {
		t.Errorf("kept is %q", got)
	}
}
