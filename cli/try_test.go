package cli_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
)

// tried is a message of crowd.
type tried struct{}

// Kind is its stable name.
func (tried) Kind() string { return "k" }

// A rehearsal is failed try, whose handlers do something.
type rehearsal struct {
	env     cli.Env
	signals chan os.Signal
	n       int // of the handler that runs
	tx      *posthorn.Tx
	at      func(ctx context.Context, r *rehearsal) error
}

// run tries all letters of a store that crowd has filled.
func (r *rehearsal) run(t *testing.T, path, form string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	r.signals = make(chan os.Signal)
	mux := posthorn.NewMux()
	posthorn.HandleTx(mux, func(ctx context.Context, tx *posthorn.Tx, _ tried) error {
		r.n++
		r.tx = tx
		return r.at(ctx, r)
	})
	app := cli.App{Name: "shop", Mux: mux, Setup: func(_ context.Context, env cli.Env) error {
		r.env = env
		return nil
	}}
	code = cli.Run(context.WithoutCancel(t.Context()), app, cli.IO{
		Args: []string{"failed", "try", "--all", "-o", form}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Signals: r.signals, Environ: []string{"POSTHORN_STORE=" + path},
	})
	return out.String(), errs.String(), code
}

// interruptedIn is a handler during whose nth run the command is told to stop.
func interruptedIn(n int) func(context.Context, *rehearsal) error {
	return func(ctx context.Context, r *rehearsal) error {
		if r.n != n {
			return nil
		}
		r.signals <- syscall.SIGINT
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
		return ctx.Err()
	}
}

func TestTrialsThatAreInterruptedShowWhatWasTried(t *testing.T) {
	t.Parallel()
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	crowd(t, path, 5)
	for form, want := range map[string]string{
		"table":  "m2  k     passed   0 touched      0\n",
		"wide":   "m2  k     passed   0 touched      0         false",
		"name":   "m1\nm2\n",
		"ndjson": `{"id":"m2",`,
		"json":   "\"not_tried\": 3\n",
		"yaml":   "not_tried: 3\n",
	} {
		r := rehearsal{at: interruptedIn(3)}
		out, errs, code := r.run(t, path, form)
		if code != 4 || !strings.Contains(out, want) || strings.Contains(out, "m3") || r.n != 3 {
			t.Errorf("%s: code %d after %d handlers\n%s", form, code, r.n, out)
		}
		if errs != "interrupted: tried 2 dead letters, and not 3 more, of which m3 had begun\n" {
			t.Errorf("%s: it says %s", form, errs)
		}
	}
}

func TestATrialOfWhichNothingIsKnownIsNotShown(t *testing.T) {
	t.Parallel()
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	crowd(t, path, 2)
	r := rehearsal{at: interruptedIn(1)}
	if out, errs, code := r.run(t, path, "json"); code != 1 || out != "" || !strings.Contains(errs, "E-INTERRUPTED") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestTrialsThatTheStoreEndsShowWhatWasTried(t *testing.T) {
	t.Parallel()
	path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	crowd(t, path, 4)
	r := rehearsal{at: func(_ context.Context, r *rehearsal) error {
		if r.n == 2 {
			r.env.Store.SQL.Touched = "the next trial cannot begin"
		}
		return nil
	}}
	out, errs, code := r.run(t, path, "name")
	if code != 4 || out != "m1\nm2\n" || !strings.Contains(errs, "after 2 were tried, and 2 were not") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestATrialThatFailedDoesNotSayThatItWouldSend(t *testing.T) {
	t.Parallel()
	for n, wants := range map[int]map[string]string{
		1: {
			"table": "\nhad sent    later (k, queue async), which is undone, since it fails\n" +
				"sends       now (k, queue async), outside its transaction: even if it fails\n",
			"ndjson": `"rows":1,"would_send":[{"id":"later"`,
		},
		2: {"table": "\nm1  k     failed   0 touched      1  no\n"},
	} {
		path := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
		crowd(t, path, n)
		r := rehearsal{at: func(ctx context.Context, r *rehearsal) error {
			_, err := r.tx.ExecContext(ctx, "create table touched (n integer)")
			if err == nil {
				_, err = r.tx.ExecContext(ctx, "insert into touched values (1)")
			}
			if err == nil {
				_, err = r.tx.Dispatch(ctx, tried{}, posthorn.WithID("later"))
			}
			if err == nil {
				_, err = r.env.Dispatcher.Dispatch(ctx, tried{}, posthorn.WithID("now"))
			}
			return errors.Join(err, errors.New("no"))
		}}
		for form, want := range wants {
			out, errs, code := r.run(t, path, form)
			if code != 1 || !strings.Contains(out, want) || form == "table" && strings.Contains(out, "would send") {
				t.Errorf("%d, %s: code %d\n%s%s", n, form, code, out, errs)
			}
		}
	}
}
