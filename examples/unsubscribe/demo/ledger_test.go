package demo_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/driver"
	"github.com/posthorn/posthorn/examples/unsubscribe/app"
	"github.com/posthorn/posthorn/examples/unsubscribe/demo"
	"github.com/posthorn/posthorn/store"
	"github.com/posthorn/posthorn/store/sqlite"
)

// balanced is the line that a good run ends with.
var balanced = regexp.MustCompile(
	`(?m)^accepted (\d+) = done (\d+) \+ waiting 0 \+ dead (\d+) \+ discarded 0 · lost 0 · doubled 0$`)

func TestTheDemoBalances(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "unsubscribe")
	if out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, seed := range []string{"1", "2"} {
		cmd := exec.Command(binary, "demo", "--copies", "6", "--seed", seed)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !balanced.Match(out) || !strings.Contains(string(out), "with SIGKILL") {
			t.Errorf("seed %s: %v\n%s", seed, err, out)
		}
	}
}

// TestTheLedgerSeesWhatIsWrong shows that a green line means something: each
// fault that is planted in the tables is counted.
func TestTheLedgerSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const unsubscribe = `insert into unsubscribed (mail, list, recipient, attempt) values ('a', 'l', 'r', 0)`
	for _, c := range []struct {
		name  string
		plant []string
		want  string
	}{
		{"nothing", nil, ""},
		{"a message is gone", []string{`delete from posthorn_message`}, "lost 1"},
		{"an effect is doubled", []string{`delete from posthorn_message`, unsubscribe, unsubscribe}, "doubled 1"},
		{"done, and waiting still", []string{unsubscribe}, "doubled 1"},
		{"nothing was accepted", []string{`delete from mail`}, "accepted 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := accepted(t)
			plant(t, s, c.plant)
			var out bytes.Buffer
			err := demo.Balance(t.Context(), s.DB(), &out)
			if (err != nil) != (c.want != "") || err != nil && !errors.Is(err, demo.ErrLedger) ||
				!strings.Contains(out.String(), c.want) {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
}

func plant(t *testing.T, s *store.Store, stmts []string) {
	t.Helper()
	for _, stmt := range stmts {
		if _, err := s.DB().Exec(stmt); err != nil {
			t.Fatal(err)
		}
	}
}

// accepted is a store with one accepted message.
func accepted(t *testing.T) *store.Store {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	s, err := sqlite.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = s.DB().Exec(app.Schema + `insert into mail (id, file, state) values ('a', 'a.eml', 'dispatched')`)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, driver.Envelope{ID: "a", Kind: app.Kind, Queue: posthorn.DefaultQueue}); err != nil {
		t.Fatal(err)
	}
	return s
}
