package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// crowd makes dead letters, all of which but the first have died of the same.
func crowd(t *testing.T, path string, n int) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.DB().ExecContext(t.Context(), `with recursive i(n) as (select 1 union all select n + 1 from i where n < ?)
		insert into posthorn_letter (id, kind, queue, priority, attempt, deliveries, crashes, sent_at, died_at, reason,
		  class, error, body)
		select 'm' || n, 'k', 'async', 0, 0, 1, 0, n, n, 'rejected', 'failure', case n when 1 then 'rare' else 'often' end,
		  x'7b7d' from i`, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// An impatient reader of stderr interrupts the command when it is told how far that is.
type impatient struct {
	text    bytes.Buffer
	once    sync.Once
	signals chan os.Signal
}

// Write keeps the text. It waits until who has taken the signal has heeded it, which a busy machine
// may take longer for than for all the rest of the search.
func (i *impatient) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "searched") && i.signals != nil {
		i.once.Do(func() {
			i.signals <- syscall.SIGINT
			time.Sleep(100 * time.Millisecond)
		})
	}
	return i.text.Write(p)
}

// A list looks through all letters, however many that are, and one that is interrupted shows
// what it has found and where to go on.
func TestAListLooksThroughAllLettersUnlessItIsInterrupted(t *testing.T) {
	t.Parallel()
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	crowd(t, path, 45_000) // several steps
	list := func(errs *impatient, args ...string) (string, int) {
		var out strings.Builder
		code := cli.Run(context.WithoutCancel(t.Context()), cli.App{Name: "posthorn"}, cli.IO{
			Args: append([]string{"failed", "list", "--query", "error:rare", "-o", "name"}, args...), Stdout: &out, Stderr: errs,
			Stdin: strings.NewReader(""), StderrTerminal: errs.signals != nil, Signals: errs.signals,
			Environ: []string{"POSTHORN_STORE=" + path},
		})
		return out.String(), code
	}
	errs := &impatient{}
	if out, code := list(errs); code != 0 || out != "m1\n" || errs.text.Len() > 0 {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs.text.String())
	}
	errs = &impatient{signals: make(chan os.Signal)}
	out, code := list(errs)
	said := regexp.MustCompile(`interrupted: searched \d+ dead letters: go on with (--past) (\d+)\n`)
	at := said.FindStringSubmatch(errs.text.String())
	if code != 4 || out != "m1\n" || at == nil {
		t.Fatalf("code %d, stdout %q, stderr %q", code, out, errs.text.String())
	}
	if out, code := list(&impatient{}, at[1:]...); code != 0 || out != "" {
		t.Errorf("from there on: code %d, stdout %q", code, out)
	}
}
