package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/cli"
)

// transcript is a buffer that may be read while it is written.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.Write(p)
}

// String is what has been written so far.
func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.String()
}

// stage runs command lines in this process, on one store.
type stage struct {
	t       *testing.T
	app     cli.App
	config  string
	dir     string // where naps are noted
	signals chan os.Signal
	stdin   string
	tty     bool
	out     transcript
	errs    transcript
}

func newStage(t *testing.T, config string) *stage {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	st := &stage{t: t, config: filepath.Join(t.TempDir(), "posthorn.yaml"), signals: make(chan os.Signal, 8)}
	st.dir = t.TempDir()
	st.app = cli.App{Name: "shop", Mux: posthorn.NewMux()}
	st.write("store: sqlite:" + filepath.Join(t.TempDir(), "a.db") + "\n" + config)
	return st
}

func (st *stage) write(config string) {
	st.t.Helper()
	if err := os.WriteFile(st.config, []byte(config), 0o600); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) run(args ...string) int {
	return cli.Run(context.Background(), st.app, cli.IO{
		Args: append(args, "--config", st.config), Self: []string{os.Args[0]}, Environ: st.environ(),
		Stdin: strings.NewReader(st.stdin), Stdout: &st.out, Stderr: &st.errs,
		StdinTerminal: st.tty, StdoutTerminal: st.tty, StderrTerminal: st.tty, Width: 80, Signals: st.signals,
	})
}

// environ makes children of up the shop.
func (st *stage) environ() []string {
	return append(os.Environ(), childEnv+"=1", napEnv+"="+st.dir, "GORACE=atexit_sleep_ms=0")
}

// shop makes the stage run the shop, whose handlers its children have too.
func (st *stage) shop() { st.app = shopApp() }

func (st *stage) napping() bool {
	_, err := os.Stat(filepath.Join(st.dir, "napping"))
	return err == nil
}

func (st *stage) await(what string, ok func() bool) {
	st.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			st.t.Fatalf("%s never came; stderr:\n%s", what, st.errs.String())
		}
	}
}

func (st *stage) awaitText(text string, times int) {
	st.t.Helper()
	st.await(text, func() bool { return strings.Count(st.errs.String(), text) >= times })
}

func TestASecondSignalCancelsTheHandlersAndTheCodeIs130(t *testing.T) {
	st := newStage(t, "")
	st.shop()
	if code := st.run("dispatch", "greet", `{"to":"a","nap":"1h"}`, "--id", "x"); code != 0 {
		t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var code int
	wg.Go(func() { code = st.run("up") })
	st.await("a nap", st.napping)
	st.signals <- syscall.SIGTERM
	st.awaitText("worker stops", 1)
	st.signals <- syscall.SIGTERM
	wg.Wait()
	if code != 130 {
		t.Errorf("code %d, want 130", code)
	}
	st.signals = nil
	if code := st.run("why", "x"); code != 0 {
		t.Errorf("the message was lost: code %d\n%s", code, st.errs.String())
	}
}

func TestSIGHUPReplacesTheWorkersAndABadConfigurationIsRefused(t *testing.T) {
	st := newStage(t, "")
	st.shop()
	text, err := os.ReadFile(st.config)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	code := -1
	wg.Go(func() { code = st.run("up") })
	st.awaitText("worker starts", 1)
	st.write(string(text) + "nonsense: 1\n")
	st.signals <- syscall.SIGHUP
	st.awaitText("unknown configuration key `nonsense`", 1)
	st.awaitText("the old one stays", 1)
	if strings.Contains(st.errs.String(), "has stopped") {
		t.Errorf("a bad configuration stopped a worker:\n%s", st.errs.String())
	}
	st.write(string(text) + "programs: {mailers: {processes: 2}}\n")
	st.signals <- syscall.SIGHUP
	st.awaitText("worker starts", 3)
	st.signals <- syscall.SIGTERM
	wg.Wait()
	if code != 0 || strings.Count(st.errs.String(), "(mailers) has stopped: interrupted by a signal") != 2 {
		t.Errorf("code %d; stderr:\n%s", code, st.errs.String())
	}
}

func TestUpReplacesAWorkerThatReachedALimitOrWasToldToStop(t *testing.T) {
	st := newStage(t, "programs: {p: {limits: {messages: 1}}}\n")
	st.shop()
	if code := st.run("dispatch", "greet", `{"to":"a"}`); code != 0 {
		t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	code := -1
	wg.Go(func() { code = st.run("up") })
	st.awaitText("has stopped: limit reached", 1)
	st.awaitText("worker starts", 2)
	other := &stage{t: t, app: cli.App{Name: "shop"}, config: st.config, dir: st.dir}
	st.await("a living worker", func() bool {
		return other.run("health", "--only", "workers", "--fail-on", "warning") == 0
	})
	if got := other.run("stop-workers"); got != 0 {
		t.Errorf("stop-workers: code %d\n%s", got, other.errs.String())
	}
	st.awaitText("has stopped: told to stop", 1)
	st.awaitText("worker starts", 3)
	st.signals <- syscall.SIGTERM
	wg.Wait()
	if code != 0 {
		t.Errorf("up: code %d\n%s", code, st.errs.String())
	}
}

func TestOnATerminalBulkWorkAsksAndNoIsTheDefault(t *testing.T) {
	st := newStage(t, "")
	posthorn.Handle(st.app.Mux, func(context.Context, greet) error { return posthorn.Reject(os.ErrInvalid) })
	st.stdin = strings.Repeat(`{"to":"a"}`+"\n", 2)
	if code := st.run("dispatch", "greet", "-"); code != 0 {
		t.Fatalf("dispatch: code %d\n%s", code, st.errs.String())
	}
	if code := st.run("consume", "-l", "2"); code != 0 {
		t.Fatalf("consume: code %d\n%s", code, st.errs.String())
	}
	st.tty = true
	for _, step := range []struct {
		answer string
		code   int
		want   string
	}{
		{"", 5, "nothing was changed"}, {"\n", 5, ""}, {"n\n", 5, ""},
		{"y\n", 0, "put back 2 dead letters"}, {"y\n", 3, "nothing matched"},
	} {
		st.stdin = step.answer
		if code := st.run("failed", "retry", "--all"); code != step.code || !strings.Contains(st.errs.String(), step.want) {
			t.Errorf("answer %q: code %d, want %d; stderr:\n%s", step.answer, code, step.code, st.errs.String())
		}
	}
	for _, want := range []string{"       2  greet, rejected\n", "retry 2 dead letters? [y/N]"} {
		if !strings.Contains(st.errs.String(), want) {
			t.Errorf("the preview has no %q:\n%s", want, st.errs.String())
		}
	}
	st.run("messenger:stats")
	if want := "messenger:stats is `shop stats` here"; !strings.Contains(st.errs.String(), want) {
		t.Errorf("stderr has no %q", want)
	}
}

func TestATableFitsTheTerminal(t *testing.T) {
	st := newStage(t, "")
	long := strings.Repeat("错误 ", 100)
	posthorn.Handle(st.app.Mux, func(context.Context, greet) error {
		return posthorn.Reject(&os.PathError{Op: long, Err: os.ErrInvalid})
	})
	for _, args := range [][]string{{"dispatch", "greet", `{"to":"a"}`, "--id", "x"}, {"consume", "-l", "1"}} {
		if code := st.run(args...); code != 0 {
			t.Fatalf("%v: code %d\n%s", args, code, st.errs.String())
		}
	}
	st.out = transcript{}
	st.tty = true
	code := st.run("failed", "list")
	if text := st.out.String(); code != 0 || !strings.Contains(text, "…") || strings.Contains(text, long) {
		t.Errorf("code %d, on a terminal:\n%s", code, st.out.String())
	}
	st.tty = false
	if st.run("failed", "list"); !strings.Contains(st.out.String(), strings.TrimSpace(long)) {
		t.Errorf("text was cut where nobody asked for it:\n%s", st.out.String())
	}
}

func FuzzEveryLineIsSentOrRefusedWithItsNumber(f *testing.F) {
	for _, s := range []string{"{}\n{}\n", "\n\n", "{bad\n", "1\n\"x\"\r\nnull", "\xff\n", "{}\n[", "  {} \n"} {
		f.Add(s)
	}
	dsn := "sqlite:" + filepath.Join(f.TempDir(), "fuzz.db")
	f.Fuzz(func(t *testing.T, lines string) {
		var out, errs strings.Builder
		code := cli.Run(context.Background(), cli.App{}, cli.IO{
			Args: []string{"dispatch", "any", "-", "-o", "name"}, Stdin: strings.NewReader(lines),
			Stdout: &out, Stderr: &errs, Environ: []string{"POSTHORN_STORE=" + dsn},
		})
		sent, text := strings.Count(out.String(), "\n"), 0
		for line := range strings.Lines(lines) {
			if strings.TrimSpace(line) != "" {
				text++
			}
		}
		switch {
		case code == 0 && sent == text, code == 3 && text == 0:
		case (code == 1 && sent == 0 || code == 4 && sent > 0) && strings.Contains(errs.String(), "where  stdin:"):
		default:
			t.Fatalf("%q: code %d, sent %d of %d\n%s", lines, code, sent, text, errs.String())
		}
	})
}
