package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/cli"
)

// Whoever says no to what an editor has made may have written for an hour.
func TestAnEditThatIsNotConfirmedKeepsWhatWasWritten(t *testing.T) {
	drafts := t.TempDir()
	t.Setenv("TMPDIR", drafts)
	at := "POSTHORN_STORE=sqlite:" + filepath.Join(t.TempDir(), "a.db")
	asBob(t, at, "dispatch", "greet", `{"to":"x","fail":"bad"}`, "--id", "a")
	asBob(t, at, "consume", "async", "--limit", "1")
	edit := func(answer string) (code int, said string, left []string) {
		in, say, err := os.Pipe() // the editor has it, too
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = in.Close(), say.Close() }()
		_, _ = say.WriteString(answer)
		var errs, out strings.Builder
		code = cli.Run(t.Context(), shopApp(), cli.IO{
			Args: []string{"failed", "edit", "a"}, Stdin: in, StdinTerminal: true, Stdout: &out,
			Stderr: &errs, Environ: append(os.Environ(), at, "EDITOR=sed -i s/bad/good/"),
		})
		left, _ = filepath.Glob(filepath.Join(drafts, "*.json"))
		return code, errs.String(), left
	}
	code, said, left := edit("n\n")
	if code != 5 || len(left) != 1 || !strings.Contains(said, "failed edit a --document @"+left[0]) {
		t.Fatalf("exit %d, left %q, and it says\n%s", code, left, said)
	}
	if text, err := os.ReadFile(left[0]); err != nil || !strings.Contains(string(text), "good") {
		t.Errorf("kept: %s, %v", text, err)
	}
	if err := os.Remove(left[0]); err != nil {
		t.Fatal(err)
	}
	if code, said, left = edit("y\n"); code != 0 || len(left) != 0 {
		t.Errorf("exit %d, left %q, and it says\n%s", code, left, said)
	}
}
