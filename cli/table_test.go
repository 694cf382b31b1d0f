package cli_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/posthorn/posthorn/cli"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// A screen runs commands of the shop on a terminal of some width, or in a pipe with 0.
type screen struct {
	t     *testing.T
	store string
}

// run runs a command, and returns the lines of its table.
func (s screen) run(width int, args ...string) []string {
	s.t.Helper()
	var out, errs strings.Builder
	cli.Run(s.t.Context(), shopApp(), cli.IO{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, StdoutTerminal: width > 0, Width: width,
		Environ: []string{"POSTHORN_STORE=sqlite:" + s.store, "TERM=dumb", "TZ=UTC"},
	})
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// shopWithFaults has dead letters whose errors are long, and an operation.
func shopWithFaults(t *testing.T) screen {
	t.Helper()
	s := screen{t, filepath.Join(t.TempDir(), "a.db")}
	for _, fault := range []string{"short", strings.Repeat("no such mailbox ", 40)} {
		s.run(0, "dispatch", "greet", `{"to":"a","fail":"`+fault+`"}`)
	}
	s.run(0, "consume", "async", "--limit", "2")
	s.run(0, "failed", "groups", "note", strings.TrimSpace(s.run(0, "failed", "groups", "-o", "name")[0]), "ticket 17")
	s.run(0, "failed", "retry", "--all", "--rate", "5", "--yes", "--because", "mended in the release of this morning")
	s.run(0, "queues", "pause", "async", "--reason", "while the database is moved to the other host")
	st, err := sqlite.Open(t.Context(), "sqlite:"+s.store, store.Options{})
	if err == nil {
		_, err = st.Heartbeat(t.Context(), driver.WorkerRecord{
			ID: "w-31751-7dz5h2pqto", Program: "messenger-consume", Host: "app-17.internal.example.org", State: "running",
			PID: 31751, Started: time.Now(), RSS: 100 << 20, Limits: driver.WorkerLimits{Messages: 1000, Memory: 512 << 20},
		})
		err = errors.Join(err, st.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNoLineOfATableWrapsOnANarrowTerminal(t *testing.T) {
	s := shopWithFaults(t)
	for _, command := range []string{
		"failed list", "failed groups", "failed groups --by kind", "failed try --all", "ops list", "queues list", "stats",
		"workers list", "audit list", "status", "health", "migrate status", "config show", "doctor", "alerts list",
		"alerts silences",
	} {
		for _, width := range []int{120, 80, 50} {
			s.fits(width, command)
		}
	}
}

// fits wants no line of what a command shows to be wider than the terminal.
func (s screen) fits(width int, command string) {
	s.t.Helper()
	for _, line := range s.run(width, strings.Fields(command)...) {
		if n := uniseg.StringWidth(line); n > width {
			s.t.Errorf("%s: a line has %d columns, the terminal %d:\n%s", command, n, width, line)
		}
	}
}

func TestANarrowTableKeepsWhatNamesItsRowsAndSaysWhatIsWrong(t *testing.T) {
	s := shopWithFaults(t)
	for command, heads := range map[string]string{
		"failed list":   "ID KIND REASON DIED AT ERROR",
		"failed groups": "GROUP COUNT LAST 12 H STATE KIND FAULT NOTE",
		"ops list":      "ID ACTION STATE TOTAL OK FAILED IN FLIGHT LEFT FILTER",
		"workers list":  "ID PROGRAM STATE RSS IN FLIGHT SEEN",
		"audit list":    "AT BY VERB WHAT FILTER REASON",
	} {
		table := s.run(80, strings.Fields(command)...)
		if got := strings.Join(strings.Fields(table[0]), " "); got != heads {
			t.Errorf("%s has the columns %s, want %s", command, got, heads)
		}
		for i, id := range s.run(0, append(strings.Fields(command), "-o", "name")...) {
			if strings.HasPrefix(heads, "ID ") && !strings.HasPrefix(table[i+1], id+" ") {
				t.Errorf("%s: %q does not begin with %s", command, table[i+1], id)
			}
		}
	}
}

func TestNoLineOfATableInAPipeIsLongForAnother(t *testing.T) {
	for _, line := range shopWithFaults(t).run(0, "failed", "groups") {
		if strings.HasSuffix(line, " ") || uniseg.StringWidth(line) > 300 {
			t.Errorf("a line has %d columns: %q", uniseg.StringWidth(line), line)
		}
	}
}
