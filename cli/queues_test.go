package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// A queue may be consumed by a worker that is configured elsewhere, and be empty.
func TestQueuesAreShownWhoeverHasHeardOfThem(t *testing.T) {
	t.Parallel()
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Heartbeat(t.Context(), driver.WorkerRecord{ID: "w", Queues: []string{"elsewhere"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pause(t.Context(), store.Pause{Queue: "paused", Reason: "r", Actor: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	show := func(names ...string) (string, string, int) {
		var out, errs strings.Builder
		code := cli.Run(t.Context(), cli.App{Name: "posthorn"}, cli.IO{
			Args: append([]string{"queues", "show", "-o", "name"}, names...), Stdin: strings.NewReader(""), Stdout: &out,
			Stderr: &errs, Environ: []string{"POSTHORN_STORE=" + path},
		})
		return out.String(), errs.String(), code
	}
	if out, errs, code := show("elsewhere", "paused", "elsewhere"); code != 0 || out != "paused\nelsewhere\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
	if out, errs, code := show("paused", "elsewere"); code != 3 || out != "" || !strings.Contains(errs, "`elsewhere`") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}
